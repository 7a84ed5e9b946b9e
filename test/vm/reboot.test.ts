// The machine goes down and comes up: in order, and because its power was cut. Pods with `reuse` go on with what they had.
import t from 'tap';
import { sharedPool } from '../integration/lifecycle/facts.ts';
import { leaveNote, neighbour, somePod } from '../integration/lifecycle/pods.ts';
import { NEEDS_ROOT } from './machine/machine.ts';
import { TWO_NODES } from './machine/shapes.ts';
import { assertNoDoubleUse, retrying, settles } from './node/facts.ts';
import { startNode } from './node/node.ts';
import { assertKept, KEEPS_ALL, keepRunning, lookAt, recoverPod } from './node/pods.ts';

t.test('a reboot and a power cut', { skip: NEEDS_ROOT }, async (t) => {
  const [pod, other] = [somePod(KEEPS_ALL), neighbour()];
  const node = await startNode(t, TWO_NODES);
  await node.writePods([pod, other]);
  const first = await keepRunning(node, pod);
  await keepRunning(node, other);
  await leaveNote(node.kubelet, first);
  let kept = await lookAt(node, pod, first);
  const pool = await retrying('the pool to be told', () => sharedPool(node));

  for (const [what, happens] of [
    ['a clean reboot', node.machine.reboot],
    ['a power cut', node.machine.powerCut],
  ] as const) {
    await t.test(what, async (t) => {
      // What a container has written is safe once it is on the disk, with or without Holdfast.
      await node.machine.run('sync');
      await happens();
      const id = await recoverPod(node, pod);
      await recoverPod(node, other);
      kept = await assertKept(t, node, kept, id);
      await assertNoDoubleUse(t, node);
      await settles(t, 'the shared pool is what it was', pool, () => sharedPool(node));
    });
  }

  await node.kubelet.deletePod(pod.uid);
  await node.writePods([other]);
  await settles(t, 'a pod that is deleted afterwards gives its CPUs back', '0-3', () => sharedPool(node));
});
