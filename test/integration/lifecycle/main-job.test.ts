// The main job through all three programs: a pod keeps its data, its CPUs and its memory node.
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { allocationsOf, assertNoDoubleUse, confinementOf, remainsOf, sharedPool } from './facts.ts';
import { MANY_CPUS, NEEDS_CPUS, NEEDS_ROOT, settles, startNode, until } from './harness.ts';
import { crash, dataOf, KEEPS_ALL, leaveNote, neighbour, somePod } from './pods.ts';

t.test('data, deletions, CPUs and memory node stay over restarts', { skip: NEEDS_ROOT }, async (t) => {
  const pod = somePod(KEEPS_ALL);
  const beside = neighbour();
  const node = await startNode(t, { pods: [pod, beside] });
  const { kubelet } = node;
  const before = await remainsOf(node);
  const whole = await sharedPool(node);

  const other = await kubelet.makePod(beside);
  const otherId = other.containerIds.get('app') ?? '';
  t.equal((await confinementOf(node, otherId)).cpus, whole, 'a default pod has the whole pool');

  const running = await kubelet.runPod(pod);
  let id = await kubelet.createContainer(running, 'app', 0);
  const [allocation] = (await allocationsOf(node)).filter(({ uid }) => uid === pod.uid);
  const [owned] = allocation?.containers ?? [];
  if (MANY_CPUS) {
    t.equal(owned?.cpuset, 'exclusive');
    t.equal(CpuSet.parse(owned?.cpus ?? '').size, 1, 'as many CPUs as its limit');
    const left = CpuSet.parse(whole).minus(CpuSet.parse(owned?.cpus ?? ''));
    t.equal((await confinementOf(node, otherId)).cpus, left.toString(), 'the neighbour has left before the start');
  }
  await kubelet.startContainer(id);
  await leaveNote(kubelet, id);
  const confinement = await confinementOf(node, id);
  if (MANY_CPUS) t.equal(confinement.cpus, owned?.cpus);
  t.equal(confinement.mems, allocation?.numaNodes);
  await assertNoDoubleUse(t, node);

  let history = 'started';
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    await crash(kubelet, id, until);
    id = await kubelet.restartContainer(running, 'app');
    history += ' started';
    t.equal((await kubelet.containerStatus(id))?.metadata?.attempt, attempt);
    t.equal(await dataOf(kubelet, id), `${history} noted`, `attempt ${attempt} has the data, and what was deleted`);
    t.strictSame(await confinementOf(node, id), confinement, `attempt ${attempt} has the same CPUs and memory node`);
    await assertNoDoubleUse(t, node);
  }

  const pid = await kubelet.processId(id);
  await node.restartAgent();
  t.equal(await kubelet.processId(id), pid, 'the container has not noticed the death of the agent');
  t.strictSame(await confinementOf(node, id), confinement);
  await assertNoDoubleUse(t, node);

  await kubelet.deletePod(pod.uid);
  await node.writePods([beside]);
  await settles(t, 'the neighbour has the whole pool again', whole, async () => {
    return (await confinementOf(node, otherId)).cpus;
  });
  await kubelet.deletePod(beside.uid);
  await node.writePods([]);
  await settles(t, 'nothing is left', before, () => remainsOf(node));
});

t.test('no CPU is given twice, and one always stays shared', { skip: NEEDS_CPUS }, async (t) => {
  const node = await startNode(t);
  const whole = CpuSet.parse(await sharedPool(node)).size;
  for (let wanted = 1; wanted <= whole; wanted += 1) {
    const pod = somePod({ 'holdfast.dev/cpuset': 'exclusive' });
    if (wanted < whole) await node.kubelet.makePod(pod);
    else await t.rejects(node.kubelet.makePod(pod), { code: status.RESOURCE_EXHAUSTED }, 'the last CPU is for all');
    await assertNoDoubleUse(t, node);
  }
});
