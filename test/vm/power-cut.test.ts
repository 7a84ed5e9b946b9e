// The power goes in the middle of a change of several steps: after the boot the change is complete or undone, no data is
// lost, no CPU is given twice, and nothing of it stays behind.
import t, { type Test } from 'tap';
import type { PodDescription } from '../../agent/cli/quickstart/pod-requests.ts';
import { failpointsBelow } from '../integration/lifecycle/agent-killed.ts';
import { leaveNote, neighbour, somePod } from '../integration/lifecycle/pods.ts';
import { NEEDS_ROOT } from './machine/machine.ts';
import { TWO_NODES } from './machine/shapes.ts';
import { assertNoDoubleUse, retrying, settles, unfinishedChanges } from './node/facts.ts';
import { leasesOf } from './node/kept-layers.ts';
import { startNode, type VmNode } from './node/node.ts';
import { assertKept, KEEPS_ALL, type Kept, keepRunning, lookAt, recoverPod, runOnce } from './node/pods.ts';

/**
 * The points whose changes are on the disk in states that differ. The points between them differ in memory only, and are
 * those of a killed agent too (test/integration/lifecycle). Each point costs a boot, so that CI takes only these.
 */
const FEW = ['reuse.keep.detached', 'reuse.move.renamed', 'reuse.move.synced', 'cpuset.holding.kept'];

/** `few` leaves out the points that differ from others in memory only; or the points themselves, with commas between. */
const WANTED = process.env['HOLDFAST_TEST_POWER_CUTS'] ?? 'all';

function wantedOf(known: readonly string[]): readonly string[] {
  if (WANTED === 'all') return known;
  const wanted = WANTED === 'few' ? FEW : WANTED.split(',');
  const unknown = wanted.filter((point) => !known.includes(point));
  if (unknown.length > 0) throw new Error(`these points are not in the sources: ${unknown.join(', ')}`);
  return wanted;
}

interface Cut {
  readonly node: VmNode;
  readonly point: string;
  readonly pod: PodDescription;
  /** Its container that runs now. */
  readonly id: string;
  /** Another pod that wants all that the first has; what happens to it is part of the change. */
  readonly late: PodDescription;
}

/**
 * What leads to each point: by the part of its name before the last dot. Tried once: what is tried again after the boot
 * would be a second kubelet beside the first.
 */
const LEADING: ReadonlyMap<string, (cut: Cut) => Promise<unknown>> = new Map<string, (cut: Cut) => Promise<unknown>>([
  ['reuse.keep', ({ node, id }) => crashAndRemove(node, id)],
  ['reuse.move', ({ node, pod }) => runOnce(node, pod)],
  ['reuse.drop', ({ node, late }) => node.kubelet.deletePod(late.uid)],
  ...['cpuset.holding', 'cpuset.pool', 'cpuset.spec', 'cpuset.runtime'].map(
    (name) => [name, ({ node, late }: Cut) => runOnce(node, late)] as const,
  ),
]);

const kindOf = (point: string): string => point.slice(0, point.lastIndexOf('.'));

async function crashAndRemove({ kubelet }: VmNode, id: string): Promise<void> {
  await kubelet.stopContainer(id, 0);
  await kubelet.removeContainer(id);
}

/**
 * Does what leads to the point, until the agent dies of it.
 * @returns what was under way then: it ends, in whatever way, when the machine is off
 */
async function comeTo(cut: Cut): Promise<{ readonly underWay: Promise<unknown> }> {
  const { node, point, pod, id, late } = cut;
  const kind = kindOf(point);
  if (kind === 'reuse.move') await node.kubelet.stopContainer(id, 0);
  if (kind === 'reuse.drop') await crashAndRemove(node, await keepRunning(node, late));
  await node.arm(point);
  if (kind === 'reuse.drop') await node.writePods([pod]);
  const underWay = Promise.allSettled([LEADING.get(kind)?.(cut)]);
  await node.agentDied();
  return { underWay };
}

async function cutThere(t: Test, node: VmNode, point: string, before: Kept, id: string): Promise<[Kept, string]> {
  const { pod } = before;
  const [other, late] = [neighbour(), somePod(KEEPS_ALL)];
  await node.writePods([pod, other, late]);
  await node.machine.run('sync');
  // Someone has to give way to the late pod; a spec is only edited of who has not started yet.
  if (kindOf(point) === 'cpuset.spec') await node.kubelet.createContainer(await node.kubelet.runPod(other), 'app');
  else if (point.startsWith('cpuset.')) await keepRunning(node, other);
  const { underWay } = await comeTo({ node, point, pod, id, late });
  await node.machine.powerCut();
  await underWay;
  const again = await recoverPod(node, pod);
  const kept = await assertKept(t, node, before, again);
  await assertNoDoubleUse(t, node);
  if (point.startsWith('cpuset.')) {
    await keepRunning(node, late);
    await assertNoDoubleUse(t, node);
  }
  await node.writePods([pod]);
  for (const { uid } of [other, late]) await retrying('the other pods to go', () => node.kubelet.deletePod(uid));
  await settles(t, 'nothing is left in the journal', 0, () => unfinishedChanges(node));
  await settles(t, 'no layer is left of the other pod', [], () => leasesOf(node.machine));
  return [kept, again];
}

t.test('the power goes in the middle of a change', { skip: NEEDS_ROOT }, async (t) => {
  // The machines' pods are on the host's network; those of the network are test/integration/network's.
  const known = (await failpointsBelow('.')).filter((point) => !point.startsWith('network.'));
  const leadless = known.filter((point) => !LEADING.has(kindOf(point)));
  t.strictSame(leadless, [], 'it is known what leads to each point of the sources');
  t.ok(
    FEW.every((point) => known.includes(point)),
    'the points are in the sources',
  );
  const points = wantedOf(known);
  const left = known.filter((point) => !points.includes(point));
  if (left.length > 0) t.comment(`without ${left.join(', ')}: one boot each`);
  const pod = somePod(KEEPS_ALL);
  const node = await startNode(t, TWO_NODES);
  await node.writePods([pod]);
  let id = await keepRunning(node, pod);
  await leaveNote(node.kubelet, id);
  let kept = await lookAt(node, pod, id);
  for (const point of points) {
    await t.test(point, async (t) => {
      [kept, id] = await cutThere(t, node, point, kept, id);
    });
  }
});
