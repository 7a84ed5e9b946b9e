// The agent dies between any two steps, or its store is lost: nobody loses a CPU, and no CPU has two owners.
import assert from 'node:assert/strict';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { type ContainerId, containerId } from '../../../agent/model/ids.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed, signal } from '../../support/cpuset-node.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const EXCLUSIVE = { cpuset: 'exclusive' } as const;
const BOUND = { cpuset: 'exclusive', numa: 'required' } as const;

/** Every place where the feature passes a failpoint. */
const POINTS = [
  'cpuset.holding.kept',
  'cpuset.pool.published',
  'cpuset.pool.moved',
  'cpuset.spec.edited',
  'cpuset.runtime.told',
];

/** No exclusive CPU of a running container is allowed to another; the books say the same as the kernel. */
function checkHost(node: CpusetNode): void {
  const allocations = node.feature.allocations().pods ?? [];
  const cpusOf = (id: ContainerId): CpuSet => CpuSet.parse(node.cpusOf(id));
  const running = [...node.runtime.containers.values()].filter(({ state }) => state === 'running');
  for (const container of running) {
    const pod = allocations.find(({ uid }) => uid === container.podUid);
    const held = pod?.containers?.find(({ name }) => name === container.name);
    assert.equal(held?.cpus, node.cpusOf(container.id), `${container.id}: books and kernel`);
    for (const other of running) {
      if (other.id === container.id || held?.cpuset !== 'exclusive') continue;
      assert.ok(!cpusOf(container.id).overlaps(cpusOf(other.id)), `${container.id} and ${other.id}`);
    }
  }
}

/** A pod that owns CPUs comes to a host where others run, wait and own; then another goes. */
async function scenario(node: CpusetNode): Promise<void> {
  const steps: (() => Promise<unknown>)[] = [
    () => node.runPod({ uid: 'new', policy: BOUND, sums: makeNeed(2, GIB) }),
    () => node.create('new', 'app', makeNeed(2, GIB)),
    () => node.created('new', 'app', makeNeed(2, GIB)),
    () => node.launch(containerId('c-new-app-0')),
    () => node.started(containerId('c-new-app-0')),
    () => node.feature.idle(),
    () => node.endPod('old'),
    () => node.feature.idle(),
  ];
  for (const step of steps) await step();
}

async function prepare(directory: string): Promise<CpusetNode> {
  const node = new CpusetNode({ host: cgroupFiles(directory), topology: evenHost(2, 4, 2, { memoryBytes: 8 * GIB }) });
  await node.start();
  for (const uid of ['n1', 'n2', 'n3']) {
    await node.runPod({ uid });
    await node.run(uid, 'app', makeNeed(1, GIB));
  }
  await node.runPod({ uid: 'old', policy: EXCLUSIVE });
  await node.run('old', 'app', makeNeed(3, GIB));
  // Created and not started yet.
  await node.create('n1', 'late', makeNeed(1));
  await node.created('n1', 'late', makeNeed(1));
  await node.feature.idle();
  return node;
}

for (const point of POINTS) {
  await t.test(`dies at ${point}`, async (t) => {
    const node = await prepare(t.testdir());
    const { died } = await node.startAgent(point);
    // As the kubelet would: what did not get an answer is asked again of the next agent.
    const outcome = await Promise.race([
      node.feature
        .recover(signal())
        .then(() => scenario(node))
        .then(() => 'finished'),
      died.then(() => 'died'),
    ]);
    t.equal(outcome, 'died', 'the point was passed');
    await node.start();
    checkHost(node);
    const before = node.feature.allocations().pods?.find(({ uid }) => uid === 'new')?.containers?.[0]?.cpus;
    if (
      !node.runtime.containers.has('c-new-app-0') ||
      node.runtime.containers.get('c-new-app-0')?.state === 'created'
    ) {
      await node.runPod({ uid: 'new', policy: BOUND, sums: makeNeed(2, GIB) });
      const id = await node.run('new', 'app', makeNeed(2, GIB), 1);
      t.ok(before === undefined || before === node.cpusOf(id), 'what was planned before is kept');
    }
    checkHost(node);
    await node.feature.reconcile(signal());
    await node.feature.idle();
    checkHost(node);
    for (const member of node.runtime.containers.values()) {
      if (member.state !== 'running') continue;
      const last = node.runtime.log.findLast((line) => line.startsWith(`update ${member.id} `));
      const stamped = member.annotations['internal.holdfast.dev/cpus'];
      t.equal(last?.split(' ')[2] ?? stamped, node.cpusOf(member.id), `the runtime knows ${member.id}`);
    }
    const late = containerId('c-n1-late-0');
    await node.launch(late);
    await node.started(late);
    checkHost(node);
    await node.feature.close();
  });
}

await t.test('the store is lost: the books are read from the containers', async (t) => {
  const node = await prepare(t.testdir());
  await node.runPod({ uid: 'bound', policy: BOUND, sums: makeNeed(2, GIB) });
  await node.run('bound', 'app', makeNeed(2, GIB));
  await node.feature.idle();
  const before = node.feature.allocations();
  const memory = node.feature.view().nodes.get(0)?.memoryAvailableBytes;
  node.store.tables.clear();
  await node.start();
  t.strictSame(node.feature.allocations().pods?.length, before.pods?.length);
  checkHost(node);
  t.equal(node.feature.view().nodes.get(0)?.memoryAvailableBytes, memory);
  await node.runPod({ uid: 'more', policy: EXCLUSIVE });
  await node.run('more', 'app', makeNeed(2));
  checkHost(node);
  await node.feature.close();
});

await t.test('stamps that cannot be ours are not believed', async (t) => {
  const node = await prepare(t.testdir());
  const owner = node.runtime.containers.get('c-old-app-0');
  assert.ok(owner);
  // The annotations of another pod's container, and rubbish.
  const copied = node.addContainer('thief', 'app', { annotations: owner.annotations });
  const rubbish = { 'internal.holdfast.dev/holding': '{"cpus":', 'internal.holdfast.dev/cpus': 'all' };
  const odd = node.addContainer('odd', 'app', { annotations: rubbish });
  for (const id of [copied, odd]) await node.launch(id);
  node.store.tables.clear();
  await node.start();
  checkHost(node);
  t.notOk(CpuSet.parse(node.cpusOf(copied)).overlaps(CpuSet.parse(node.cpusOf(owner.id))));
  t.equal(node.cpusOf(odd), node.cpusOf(copied));
  await node.feature.close();
});

await t.test('of two that say they own a CPU the store is believed, and it is said', async (t) => {
  const node = await prepare(t.testdir());
  const owner = node.runtime.containers.get('c-old-app-0');
  assert.ok(owner);
  const forged = JSON.parse(owner.annotations['internal.holdfast.dev/holding'] ?? '{}');
  const id = node.addContainer('forger', 'app', {
    annotations: { 'internal.holdfast.dev/holding': JSON.stringify({ ...forged, uid: 'forger' }) },
  });
  await node.launch(id);
  await node.start();
  checkHost(node);
  t.match(node.logs.join(''), /says it owns CPUs 0-2, but default\/pod-old owns CPU 0/);
  await node.feature.close();
});

await t.test('records that cannot be read cost nothing', async (t) => {
  const node = await prepare(t.testdir());
  const told = node.store.tables.get('cpuset-told');
  const holdings = node.store.tables.get('cpuset-holdings');
  assert.ok(told !== undefined && holdings !== undefined);
  assert.ok(told.has('c-n1-app-0') && holdings.has('old'));
  told.set('c-n1-app-0', JSON.stringify('rubbish'));
  holdings.set('old', JSON.stringify({ uid: 'old', cpus: '0-' }));
  await node.start();
  checkHost(node);
  t.equal(node.feature.pods().find(({ uid }) => uid === 'old')?.name, 'pod-old', 'known from its container');
  t.equal(node.cpusOf(containerId('c-old-app-0')), '0-2');
  await node.feature.close();
});
