// Every change of what schedulers see is announced in the moment in which it can be seen: whoever looks twice and finds
// the same version has seen the same state, whatever went on in between.
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createTopologyView } from '../../../agent/api/topology-view.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { Changes } from '../../../lib/changes.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed, signal } from '../../support/cpuset-node.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const SPEC = [{ name: 'app', kind: 'app', ...makeNeed(2, GIB) }] as const;
/** Looks between any two steps of a program that is not done in one go. */
const LOOKS_PER_TURN = 20;

class Observer {
  readonly node: CpusetNode;
  readonly changes = new Changes();
  readonly topology = evenHost(2, 2, 2, { memoryBytes: 4 * GIB });
  /** What was seen, by version. */
  readonly seen = new Map<bigint, string>();
  /** Versions under which two states were seen. */
  readonly torn = new Set<bigint>();

  constructor(t: Test) {
    const onChange = (): void => this.changes.announce();
    this.node = new CpusetNode({ host: cgroupFiles(t.testdir(), 2), topology: this.topology, onChange });
  }

  look(): void {
    const { feature } = this.node;
    const shown = JSON.stringify(
      [[...feature.view().nodes], feature.allocations(), feature.runningPods()],
      (_key, value: unknown) => (typeof value === 'bigint' || value instanceof CpuSet ? String(value) : value),
    );
    const { version } = this.changes;
    const before = this.seen.get(version);
    if (before !== undefined && before !== shown) this.torn.add(version);
    this.seen.set(version, shown);
  }

  /** Does something, and looks all the while. */
  async during(work: () => Promise<unknown>): Promise<void> {
    let done = false;
    const working = work().finally(() => {
      done = true;
    });
    while (!done) {
      for (let look = 0; look < LOOKS_PER_TURN; look += 1) {
        this.look();
        await Promise.resolve();
      }
      await setImmediate();
    }
    await working;
    this.look();
  }
}

async function startObserver(t: Test): Promise<Observer> {
  const observer = new Observer(t);
  await observer.node.startAgent();
  t.teardown(() => observer.node.feature.close());
  await observer.during(() => observer.node.feature.recover(signal()));
  return observer;
}

await t.test('a version never stands for two states', async (t) => {
  const observer = await startObserver(t);
  const { node } = observer;
  const policy = { cpuset: 'exclusive', numa: 'required' } as const;
  await observer.during(() => node.runPod({ uid: 'a', policy }));
  await observer.during(() => node.run('a', 'app', makeNeed(2, GIB)));
  await observer.during(() => node.runPod({ uid: 'b' }));
  // They are promised nothing: that they are there is all that is shown of them.
  const ended: ContainerId[] = [];
  await observer.during(async () => {
    ended.push(await node.run('b', 'web', makeNeed(1)), await node.run('b', 'log', makeNeed(1)));
  });
  await observer.during(() => node.runPod({ uid: 'c', policy }));
  // Both ended without anybody saying so: moving the first to the smaller pool finds that its cgroup is gone, the
  // runtime's listing names the second as ended.
  await observer.during(async () => {
    for (const id of ended) await node.exit(id);
    await node.run('c', 'app', makeNeed(1, GIB));
    await node.feature.reconcile(signal());
  });
  await observer.during(() => node.endPod('c'));
  await observer.during(() => node.runPod({ uid: 'd' }));
  await observer.during(() => node.run('d', 'web', makeNeed(1)));
  await observer.during(() => node.endPod('d'));
  await observer.during(() => node.endPod('a'));
  t.strictSame([...observer.torn], []);
  t.ok(observer.seen.size > 8, `${observer.seen.size} versions were seen`);
});

await t.test('a promise that the disk refused is shown to be gone under a version of its own', async (t) => {
  const observer = await startObserver(t);
  const { node } = observer;
  observer.look();
  const before = [...observer.seen.values()].at(-1);
  await observer.during(async () => {
    node.store.failure = new Error('disk full');
    await t.rejects(
      node.runPod({ uid: 'a', policy: { cpuset: 'exclusive', numa: 'required' }, spec: SPEC }),
      /disk full/,
    );
  });
  t.strictSame([...observer.torn], []);
  t.equal([...observer.seen.values()].at(-1), before);
});

await t.test('a host that lost a CPU is shown together with what is left to hand out on it', async (t) => {
  const observer = await startObserver(t);
  const { node, changes, topology } = observer;
  const view = createTopologyView({ nodeName: 'node', topology, placing: node.feature, changes });
  const smaller = {
    ...topology,
    cpus: topology.cpus.map((cpu) => (cpu.id === 7 ? { ...cpu, online: false } : cpu)),
    usableCpus: topology.usableCpus.minus(CpuSet.of(7)),
  };
  const first = view.snapshot();
  t.equal(view.snapshot(), first, 'computed once per version');
  let done = false;
  const replacing = view.replace(smaller).finally(() => {
    done = true;
  });
  while (!done) {
    const { topology: shown } = view.snapshot();
    const online = shown.cpus.filter(({ online }) => online).length;
    t.equal(
      shown.numaNodes.reduce((sum, node) => sum + CpuSet.parse(node.sharedCpus).size, 0),
      online,
    );
    await Promise.resolve();
  }
  await replacing;
  t.equal(view.snapshot().topology.cpus.filter(({ online }) => online).length, 7);
  t.equal(view.snapshot().version, first.version + 1n);
  await view.replace(smaller);
  t.equal(view.snapshot().version, first.version + 1n, 'a host that is as before is no change');
});

await t.test("an agent's cpuset that became smaller takes CPUs and memory from what can be had", async (t) => {
  const { node, changes, topology } = await startObserver(t);
  const view = createTopologyView({ nodeName: 'node', topology, placing: node.feature, changes });
  const free = () => view.snapshot().topology.numaNodes.map(({ freeCpus }) => freeCpus);
  t.strictSame(free(), ['0-3', '4-7']);
  await view.replace({ ...topology, usableCpus: CpuSet.parse('0-3'), usableMems: CpuSet.of(0) });
  t.strictSame(free(), ['0-3', '']);
  await view.replace(topology);
  t.strictSame(free(), ['0-3', '4-7'], 'and gives them back');
});

await t.test('a pod counts as running once an app container of it was started', async (t) => {
  const { node, changes } = await startObserver(t);
  const names = () => node.feature.runningPods().map(({ name }) => name);
  const spec = [
    { name: 'init', kind: 'init', ...makeNeed(1) },
    { name: 'app', kind: 'app', ...makeNeed(1) },
  ] as const;
  await node.runPod({ uid: 'a', policy: { cpuset: 'exclusive', numa: 'required' }, spec });
  await node.run('a', 'init', makeNeed(1));
  const app = await node.create('a', 'app', makeNeed(1));
  await node.created('a', 'app', makeNeed(1));
  t.strictSame(names(), [], 'its init container ran, its own is made');
  const before = changes.version;
  await node.launch(app);
  await node.started(app);
  t.strictSame(names(), ['pod-a']);
  t.ok(changes.version > before, 'which is announced');
  await node.exit(app);
  await node.feature.reconcile(signal());
  t.strictSame(names(), ['pod-a'], 'one that waits to be started again is running');
  await node.endPod('a');
  t.strictSame(names(), []);
});
