// Sandboxes come and go while the pod lives: what the pod holds belongs to the pod.
import t from 'tap';
import { assertNoDoubleUse, confinementOf, leasesOf, remainsOf } from './facts.ts';
import { NEEDS_ROOT, settles, startNode, until } from './harness.ts';
import { crash, dataOf, ensureRunning, ensureSandbox, KEEPS_ALL, leaveNote, somePod } from './pods.ts';

t.test('RemovePodSandbox with containers in it, and another sandbox of the pod', { skip: NEEDS_ROOT }, async (t) => {
  const pod = somePod(KEEPS_ALL);
  const node = await startNode(t, { pods: [pod], config: { holdings: { gracePeriod: '1h' } } });
  const { kubelet } = node;
  const before = await remainsOf(node);
  const running = await kubelet.makePod(pod);
  const first = running.containerIds.get('app') ?? '';
  await leaveNote(kubelet, first);
  const confinement = await confinementOf(node, first);

  // As a kubelet whose host is drained of sandboxes: nothing was removed or stopped by itself.
  await kubelet.removePodSandbox(running.sandboxId);
  t.strictSame(await kubelet.listContainers(pod.uid), [], 'the runtime has removed the container with its sandbox');
  t.equal((await leasesOf(node)).length, 1, 'its layer is kept');
  await assertNoDoubleUse(t, node);

  const again = await ensureSandbox(kubelet, pod);
  const second = await ensureRunning(kubelet, again, 'next');
  t.equal(await dataOf(kubelet, second), 'started started noted');
  t.strictSame(await confinementOf(node, second), confinement);
  await settles(t, 'no lease is needed any more', [], () => leasesOf(node));

  // As after a reboot: the new sandbox first, then the old one goes with its dead container.
  await crash(kubelet, second, until);
  await kubelet.stopPodSandbox(again.sandboxId);
  const newer = await kubelet.runPod(pod, again.sandboxAttempt + 1);
  const third = await ensureRunning(kubelet, newer, 'next');
  t.equal(await dataOf(kubelet, third), 'started started started noted');
  await kubelet.removePodSandbox(again.sandboxId);
  t.equal(await dataOf(kubelet, third), 'started started started noted', 'removing the old sandbox takes nothing');
  t.strictSame(await confinementOf(node, third), confinement);
  t.strictSame(
    (await kubelet.listContainers(pod.uid)).map(({ id }) => id),
    [third],
    'the dead container is gone',
  );
  t.strictSame(await leasesOf(node), [], 'there was nothing in it to keep');
  await crash(kubelet, third, until);
  t.equal(await dataOf(kubelet, await ensureRunning(kubelet, newer, 'next')), `${'started '.repeat(4)}noted`);

  await kubelet.deletePod(pod.uid);
  await node.writePods([]);
  await settles(t, 'nothing is left', before, () => remainsOf(node));
});
