// A host that lost CPUs until every one that is left has an owner: shared containers still get a set that is not empty,
// which would mean all CPUs to the kernel and the runtime, and it is said loudly.
import t, { type Test } from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../../agent/model/host-topology.ts';
import type { ContainerId } from '../../../agent/model/ids.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed } from '../../support/cpuset-node.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';

const EXCLUSIVE = { cpuset: 'exclusive' } as const;
const SHRUNK: HostTopology = { ...evenHost(1, 4, 1), usableCpus: CpuSet.of(0, 1, 2) };

/** One pod owns CPUs 0-2 of 4, another shares the last. */
async function prepare(
  t: Test,
): Promise<{ readonly node: CpusetNode; readonly owner: ContainerId; readonly neighbour: ContainerId }> {
  const node = new CpusetNode({ host: cgroupFiles(t.testdir()), topology: evenHost(1, 4, 1) });
  await node.start();
  t.teardown(() => node.feature.close());
  await node.runPod({ uid: 'a' });
  const neighbour = await node.run('a', 'app', makeNeed(1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  const owner = await node.run('b', 'app', makeNeed(3));
  await node.feature.idle();
  t.equal(node.cpusOf(neighbour), '3');
  return { node, owner, neighbour };
}

async function contested(node: CpusetNode): Promise<number | undefined> {
  return (await node.registry.getSingleMetric('holdfast_cpuset_contested_cpus')?.get())?.values[0]?.value;
}

function failed(node: CpusetNode): readonly string[] {
  return node.feature
    .status()
    .filter(({ level }) => level === 'failed')
    .map(({ text }) => text);
}

await t.test('the last shared CPU goes offline, and comes back', async (t) => {
  const { node, owner, neighbour } = await prepare(t);
  t.equal(await contested(node), 0);
  t.strictSame(failed(node), []);

  await node.feature.topologyChanged(SHRUNK);
  await node.feature.idle();
  t.equal(node.masks.at(-1), '0-2', 'no empty mask for when the agent is away');
  t.equal(node.cpusOf(neighbour), '0-2', 'an empty set would be all CPUs');
  t.equal(node.cpusOf(owner), '0-2', 'the owner keeps its own');
  t.equal(await contested(node), 3);
  t.match(failed(node), [/every CPU that is left has an owner: .* \(0-2\)/]);
  t.match(node.logs.join(''), /"level":50.*every CPU that is left has an owner/);

  await node.runPod({ uid: 'c' });
  const late = await node.run('c', 'app', makeNeed(1));
  t.equal(node.contributions.get('c/app')?.cpusetCpus?.toString(), '0-2');
  t.equal(node.cpusOf(late), '0-2');
  await node.runPod({ uid: 'd', policy: EXCLUSIVE });
  await t.rejects(node.create('d', 'app', makeNeed(1)), { code: 'NO_ROOM' }, 'nothing new can be owned');
  await node.exit(owner);
  const again = await node.run('b', 'app', makeNeed(3), 1);
  t.equal(node.cpusOf(again), '0-2', 'what is owned already is kept over a restart');

  await node.feature.topologyChanged(evenHost(1, 4, 1));
  await node.feature.idle();
  for (const id of [neighbour, late]) t.equal(node.cpusOf(id), '3');
  t.equal(node.cpusOf(again), '0-2');
  t.equal(await contested(node), 0);
  t.strictSame(failed(node), []);
  t.equal(node.logs.filter((line) => line.includes('every CPU that is left')).length, 1, 'said once');
});

await t.test('an owner that loses one of its CPUs is not given the last one instead', async (t) => {
  const { node, owner, neighbour } = await prepare(t);
  await node.feature.topologyChanged({ ...evenHost(1, 4, 1), usableCpus: CpuSet.of(0, 1) });
  await node.feature.idle();
  t.equal(node.cpusOf(neighbour), '0-1');
  await node.exit(owner);
  await t.rejects(node.create('b', 'app', makeNeed(3), 1), { code: 'NO_ROOM' });
});

await t.test('the agent starts on the smaller host', async (t) => {
  const { node, owner, neighbour } = await prepare(t);
  const smaller = new CpusetNode({ host: cgroupFiles(t.testdir()), topology: SHRUNK, store: node.store });
  for (const [id, container] of node.runtime.containers) smaller.runtime.containers.set(id, container);
  for (const id of [neighbour, owner]) await smaller.launch(id);
  await smaller.start();
  t.teardown(() => smaller.feature.close());
  t.equal(smaller.masks.at(-1), '0-2');
  t.equal(smaller.cpusOf(neighbour), '0-2');
  t.match(failed(smaller), [/every CPU that is left has an owner/]);
});

await t.test("reserved CPUs come first: they are nobody else's", async (t) => {
  const topology = evenHost(1, 4, 1);
  const node = new CpusetNode({ host: cgroupFiles(t.testdir()), topology });
  await node.start();
  await node.runPod({ uid: 'a' });
  const neighbour = await node.run('a', 'app', makeNeed(1));
  await node.runPod({ uid: 'b', policy: EXCLUSIVE });
  await node.run('b', 'app', makeNeed(3));
  await node.feature.close();
  const directory = t.testdir();
  // CPU 0 was reserved in the configuration after a pod came to own it; CPU 3 went offline.
  const next = new CpusetNode({
    host: cgroupFiles(directory),
    topology: SHRUNK,
    store: node.store,
    reservedCpus: CpuSet.of(0),
  });
  for (const [id, container] of node.runtime.containers) next.runtime.containers.set(id, container);
  await next.launch(neighbour);
  await next.start();
  t.teardown(() => next.feature.close());
  t.equal(next.cpusOf(neighbour), '0');
  t.equal(next.masks.at(-1), '0');
});
