// An update through the runtime that was answered before the shared pool changed, and is carried out after it.
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed, signal } from '../../support/cpuset-node.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';

const EXCLUSIVE = { cpuset: 'exclusive' } as const;

async function prepare(t: Test): Promise<CpusetNode> {
  const node = new CpusetNode({ host: cgroupFiles(t.testdir()), topology: evenHost(1, 4, 1) });
  await node.start();
  t.teardown(() => node.feature.close());
  await node.runPod({ uid: 'a' });
  return node;
}

/** The step of an update. @returns what the runtime is to write */
async function update(node: CpusetNode, id: ContainerId): Promise<CpuSet | undefined> {
  const listed = node.runtime.containers.get(id);
  if (listed === undefined) throw new Error(`no container ${id}`);
  const pod = node.pod('a');
  const { cpusetCpus } = await node.feature.containerUpdating({
    pod,
    container: { ...listed, policy: pod.policy },
    need: makeNeed(1),
    requestedCpus: '',
    signal: signal(),
  });
  return cpusetCpus;
}

async function poll(condition: () => boolean): Promise<boolean> {
  for (let attempt = 0; attempt < 400; attempt += 1) {
    if (condition()) return true;
    await delay(50);
  }
  return false;
}

await t.test('a running container is put back, and the runtime is told again', async (t) => {
  const node = await prepare(t);
  const neighbour = await node.run('a', 'app', makeNeed(1));
  const answered = await update(node, neighbour);
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.create('b', 'app', makeNeed(2));
  await node.created('b', 'app', makeNeed(2));
  const tellings = (): number => node.runtime.log.filter((line) => line === `update ${neighbour} 2-3 -`).length;
  t.ok(await poll(() => tellings() === 1), 'it is told in the background');
  t.equal(answered?.toString(), '0-3');
  // Another update: the wait for the check begins now, however long the steps before took.
  await update(node, neighbour);
  node.write(neighbour, 'cpuset.cpus', answered?.toString() ?? '');
  t.ok(await poll(() => node.cpusOf(neighbour) === '2-3'), 'without waiting for reconciling');
  t.ok(await poll(() => tellings() === 2), 'its record had the older CPUs');
});

await t.test('so is the spec of one that was not started', async (t) => {
  const node = await prepare(t);
  const waiting = await node.create('a', 'app', makeNeed(1));
  await node.created('a', 'app', makeNeed(1));
  const answered = await update(node, waiting);
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.create('b', 'app', makeNeed(2));
  await node.created('b', 'app', makeNeed(2));
  node.specs.set(waiting, { linux: { resources: { cpu: { cpus: answered?.toString() ?? '' } } } });
  await node.feature.idle();
  await node.launch(waiting);
  t.equal(node.cpusOf(waiting), '2-3');
});

await t.test('an update that nothing overtook costs the runtime nothing', async (t) => {
  const node = await prepare(t);
  const neighbour = await node.run('a', 'app', makeNeed(1));
  const before = node.runtime.log.length;
  await update(node, neighbour);
  await node.feature.idle();
  t.equal(node.runtime.log.length, before);
});
