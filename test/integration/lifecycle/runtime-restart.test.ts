// kill -9 of containerd at rest: calls fail at once and work again at once; everything is as before.
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { assertNoDoubleUse, collectGarbage, confinementOf, leasesOf, remainsOf, snapshotsOf } from './facts.ts';
import { NEEDS_ROOT, retrying, settles, startNode, until } from './harness.ts';
import { crash, dataOf, ensureRunning, ensureSandbox, KEEPS_ALL, leaveNote, neighbour, somePod } from './pods.ts';

const TIMEOUT_MS = 10_000;

t.test('containerd is killed and comes back', { skip: NEEDS_ROOT }, async (t) => {
  const [pod, shelved, beside] = [somePod(KEEPS_ALL), somePod({ 'holdfast.dev/restart': 'reuse' }), neighbour()];
  const node = await startNode(t, { pods: [pod, shelved, beside] });
  const { kubelet, containerd } = node;
  const before = await remainsOf(node);

  const running = await kubelet.makePod(pod);
  const id = running.containerIds.get('app') ?? '';
  await leaveNote(kubelet, id);
  const other = (await kubelet.makePod(beside)).containerIds.get('app') ?? '';
  const shelf = await kubelet.makePod(shelved);
  const shelvedId = shelf.containerIds.get('app') ?? '';
  await leaveNote(kubelet, shelvedId);
  await crash(kubelet, shelvedId, until);
  await kubelet.removeContainer(shelvedId);
  const leases = await leasesOf(node);
  t.equal(leases.length, 1, 'one layer is kept without a container');
  const confinements = await Promise.all([confinementOf(node, id), confinementOf(node, other)]);
  const [pid, snapshots] = [await kubelet.processId(id), await snapshotsOf(node)];

  await containerd.kill('SIGKILL');
  const unavailable = { code: status.UNAVAILABLE };
  const options = { timeoutMs: TIMEOUT_MS };
  const { method } = RuntimeService;
  await t.rejects(kubelet.call(method.listContainers, {}, options), unavailable, 'a relayed call');
  await t.rejects(kubelet.call(method.startContainer, { containerId: id }, options), unavailable);
  await t.rejects(kubelet.call(method.removeContainer, { containerId: id }, options), unavailable);
  await t.rejects(kubelet.call(method.removePodSandbox, { podSandboxId: running.sandboxId }, options), unavailable);
  await t.rejects(kubelet.createContainer(running, 'app', 1), unavailable, 'CreateContainer');
  await t.rejects(kubelet.runPod(neighbour()), unavailable, 'RunPodSandbox');

  await containerd.start();
  t.equal((await kubelet.listContainers()).length, 2, 'the first call after its return is answered');
  t.equal(await kubelet.processId(id), pid, 'the container has not noticed');
  t.strictSame(await Promise.all([confinementOf(node, id), confinementOf(node, other)]), confinements);
  await collectGarbage(node);
  t.strictSame(await leasesOf(node), leases, 'the lease is there');
  t.strictSame(await snapshotsOf(node), snapshots, 'garbage collection takes no layer');
  await assertNoDoubleUse(t, node);

  await crash(kubelet, id, until);
  const next = await retrying('the next attempt', () => ensureRunning(kubelet, running, 'next'));
  t.equal(await dataOf(kubelet, next), 'started started noted');
  t.strictSame(await confinementOf(node, next), confinements[0]);
  const taken = await retrying('the kept layer', async () => {
    return await ensureRunning(kubelet, await ensureSandbox(kubelet, shelved), 'next');
  });
  t.equal(await dataOf(kubelet, taken), 'started started noted', 'the kept layer is in the new container');

  await node.writePods([]);
  for (const { uid } of [pod, shelved, beside]) await kubelet.deletePod(uid);
  await settles(t, 'nothing is left', before, () => remainsOf(node));
});
