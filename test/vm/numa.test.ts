// Machines with several memory nodes: where processes run and where their pages are, as the kernel tells it.
import t from 'tap';
import type { CriClient } from '../../agent/cli/quickstart/cri-client.ts';
import type { PodDescription } from '../../agent/cli/quickstart/pod-requests.ts';
import { bytes, milliCpu } from '../../agent/model/quantity.ts';
import { describeError } from '../../lib/errors.ts';
import { sharedPool } from '../integration/lifecycle/facts.ts';
import { neighbour, somePod } from '../integration/lifecycle/pods.ts';
import { NEEDS_ROOT } from './machine/machine.ts';
import { FOUR_NODES, MEMORY_ONLY_NODE, TWO_NODES } from './machine/shapes.ts';
import { assertNoDoubleUse, confinementOf, pagesByNode, settles } from './node/facts.ts';
import { startNode, type VmNode } from './node/node.ts';
import { assertAllocationsAreObserved, assertSameAsLstopo, readNodes, readTopology } from './node/topology.ts';

const OWNER = { 'holdfast.dev/cpuset': 'exclusive', 'holdfast.dev/numa': 'required' };
const MIB = 1024 ** 2;
/** Has 32 MiB of its own memory, written to, and waits. */
const HOLDS_MEMORY = ['/bin/sh', '-c', 'dd if=/dev/zero bs=32M count=1 2>/dev/null | sleep 100000'];
const PAGES = (32 * MIB) / 4096;

/** Owns CPUs of one memory node, and holds memory there. */
function ownerOf(cpus: number, memoryMiB = 64): PodDescription {
  const asked = { cpuLimit: milliCpu(cpus * 1000), memoryLimit: bytes(memoryMiB * MIB), command: HOLDS_MEMORY };
  return somePod(OWNER, asked);
}

async function start(kubelet: CriClient, pod: PodDescription): Promise<string> {
  const { containerIds } = await kubelet.makePod(pod);
  return containerIds.get('app') ?? '';
}

/** Tells the agent of the pods first, as the API server does. */
async function startAll(node: VmNode, ...pods: readonly PodDescription[]): Promise<readonly string[]> {
  await node.writePods(pods);
  const ids: string[] = [];
  for (const pod of pods) ids.push(await start(node.kubelet, pod));
  return ids;
}

/** What the kubelet is told, and shows as an event of the pod. */
async function refusal(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => 'it was not refused',
    (error: unknown) => describeError(error),
  );
}

t.test('two memory nodes', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNode(t, TWO_NODES);
  await settles(t, 'in the beginning everything is shared', '0-3', () => sharedPool(node));
  await assertSameAsLstopo(t, node);

  const [first, second, other] = [ownerOf(2), ownerOf(1), neighbour()];
  const [firstId = '', otherId = ''] = await startAll(node, first, other);
  const own = await confinementOf(node, firstId);
  t.match(own, /^0-1 0$|^2-3 1$/.test(`${own.cpus} ${own.mems}`) ? own : { cpus: '0-1', mems: '0' });
  const away = own.mems === '0' ? { cpus: '2-3', mems: '1' } : { cpus: '0-1', mems: '0' };

  await settles(t, 'all of its pages are on its memory node', [Number(own.mems)], async () => {
    const pages = await pagesByNode(node, firstId);
    const total = [...pages.values()].reduce((sum, count) => sum + count, 0);
    return total >= PAGES ? [...pages.keys()] : [];
  });
  t.equal((await confinementOf(node, otherId)).cpus, away.cpus, 'the neighbour runs where nobody owns a CPU');
  await settles(t, 'the pool is what nobody owns', away.cpus, () => sharedPool(node));

  await node.writePods([first, other, second]);
  const secondId = await start(node.kubelet, second);
  const beside = await confinementOf(node, secondId);
  t.equal(beside.mems, away.mems, 'the next owner is on the other memory node');
  await settles(t, 'the neighbour has left its CPU', false, async () => {
    return (await confinementOf(node, otherId)).cpus.split(/[,-]/).includes(beside.cpus);
  });
  await assertNoDoubleUse(t, node);
  await assertAllocationsAreObserved(t, node, [firstId, secondId, otherId]);

  const refused = ownerOf(2);
  await node.writePods([first, other, second, refused]);
  t.match(await refusal(node.kubelet.runPod(refused)), /NO_ROOM.*node 0: .*node 1: /, 'no node has two CPUs left');

  for (const { uid } of [first, second]) await node.kubelet.deletePod(uid);
  await node.writePods([other]);
  await settles(t, 'the pool grows when owners go', '0-3', () => sharedPool(node));
  await settles(t, 'and the neighbour with it', '0-3', async () => (await confinementOf(node, otherId)).cpus);
});

t.test('four memory nodes', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNode(t, FOUR_NODES);
  await assertSameAsLstopo(t, node);
  t.strictSame(await readNodes(node), [
    { id: 0, cpus: '0', distances: [10, 12, 21, 21] },
    { id: 1, cpus: '1', distances: [12, 10, 21, 21] },
    { id: 2, cpus: '2', distances: [21, 21, 10, 12] },
    { id: 3, cpus: '3', distances: [21, 21, 12, 10] },
  ]);
  t.strictSame(
    (await readTopology(node)).cpus.map(({ socket }) => socket),
    [0, 0, 1, 1],
  );
  const wide = somePod(
    { 'holdfast.dev/cpuset': 'exclusive', 'holdfast.dev/numa': 'preferred' },
    {
      cpuLimit: milliCpu(2000),
    },
  );
  const [id = ''] = await startAll(node, wide);
  const { cpus, mems } = await confinementOf(node, id);
  t.ok(['0-1', '2-3'].includes(cpus), `two CPUs of the nodes that are near each other: ${cpus}`);
  t.equal(mems, cpus, 'and the memory of both');
  await assertAllocationsAreObserved(t, node, [id]);
  const narrow = ownerOf(2);
  await node.writePods([wide, narrow]);
  t.match(await refusal(node.kubelet.runPod(narrow)), /NO_ROOM/, 'no single node has two CPUs');
});

t.test('a memory node without CPUs', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNode(t, MEMORY_ONLY_NODE);
  await assertSameAsLstopo(t, node);
  t.strictSame(
    (await readNodes(node)).map(({ cpus }) => cpus),
    ['0', '1', ''],
  );
  const [id = ''] = await startAll(node, ownerOf(1, 64));
  const { cpus, mems } = await confinementOf(node, id);
  t.equal(mems, cpus, 'the pod is on a node with CPUs');
  const expander = ownerOf(1, 900);
  t.match(
    await refusal(node.kubelet.runPod(expander)),
    /NO_ROOM.*node 2: has no CPUs/,
    'memory alone is no place for a pod',
  );
});
