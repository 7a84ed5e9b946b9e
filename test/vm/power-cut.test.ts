// The power goes in the middle of a change of several steps: after the boot the change is complete or undone, no data is
// lost, no CPU is given twice, and nothing of it stays behind.
import t, { type Test } from 'tap';
import type { PodDescription } from '../../agent/cli/quickstart/pod-requests.ts';
import { failpointsBelow } from '../integration/lifecycle/agent-killed.ts';
import { leaveNote, neighbour, somePod } from '../integration/lifecycle/pods.ts';
import { NEEDS_ROOT } from './machine/machine.ts';
import { TWO_NODES } from './machine/shapes.ts';
import { assertNoDoubleUse, settles, unfinishedChanges } from './node/facts.ts';
import { startNode, type VmNode } from './node/node.ts';
import { assertKept, KEEPS_ALL, type Kept, keepRunning, lookAt, recoverPod } from './node/pods.ts';

/**
 * The points whose changes are on the disk in states that differ, one boot each. The points between them differ in
 * memory only, and are those of a killed agent (test/integration/lifecycle).
 */
const POINTS = ['reuse.keep.detached', 'reuse.move.renamed', 'reuse.move.synced', 'cpuset.holding.kept'];

/** Does what leads to the point, until the agent dies of it; the call that does not come back is nobody's concern. */
async function comeTo(
  node: VmNode,
  point: string,
  pod: PodDescription,
  id: string,
  late: PodDescription,
): Promise<void> {
  const { kubelet } = node;
  const restart = async (): Promise<void> => {
    await kubelet.stopContainer(id, 0);
    if (point.startsWith('reuse.move.')) await keepRunning(node, pod);
    else await kubelet.removeContainer(id);
  };
  await node.arm(point);
  const act = point.startsWith('cpuset.') ? kubelet.runPod(late) : restart();
  act.catch(() => undefined);
  await node.agentDied();
}

async function cutThere(t: Test, node: VmNode, point: string, before: Kept, id: string): Promise<[Kept, string]> {
  const late = somePod(KEEPS_ALL);
  await node.writePods([before.pod, late]);
  await node.machine.run('sync');
  await comeTo(node, point, before.pod, id, late);
  await node.machine.powerCut();
  const again = await recoverPod(node, before.pod);
  const kept = await assertKept(t, node, before, again);
  await assertNoDoubleUse(t, node);
  if (point.startsWith('cpuset.')) {
    await keepRunning(node, late);
    await assertNoDoubleUse(t, node);
    await node.kubelet.deletePod(late.uid);
  }
  await settles(t, 'nothing is left in the journal', 0, () => unfinishedChanges(node));
  return [kept, again];
}

t.test('the power goes in the middle of a change', { skip: NEEDS_ROOT }, async (t) => {
  const known = await failpointsBelow('.');
  t.strictSame(
    POINTS.filter((point) => !known.includes(point)),
    [],
    'the points are in the sources',
  );
  const [pod, other] = [somePod(KEEPS_ALL), neighbour()];
  const node = await startNode(t, TWO_NODES);
  await node.writePods([pod, other]);
  let id = await keepRunning(node, pod);
  await leaveNote(node.kubelet, id);
  let kept = await lookAt(node, pod, id);
  for (const point of POINTS) {
    await t.test(point, async (t) => {
      [kept, id] = await cutThere(t, node, point, kept, id);
    });
  }
});
