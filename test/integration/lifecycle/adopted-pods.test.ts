// Holdfast comes to a node with running pods, made by containerd alone: nobody is restarted, nobody loses data or CPUs,
// and what pods ask for is theirs from their next container on.

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { allocationsOf, assertNoDoubleUse, confinementOf, remainsOf, sharedPool } from './facts.ts';
import { NEEDS_CPUS, settles, startNode, until } from './harness.ts';
import { crash, dataOf, ensureRunning, KEEPS_ALL, leaveNote, neighbour, somePod } from './pods.ts';

async function processes(kubelet: CriClient, ids: readonly string[]): Promise<readonly number[]> {
  return Promise.all(ids.map((id) => kubelet.processId(id)));
}

t.test('pods that ran before Holdfast came', { skip: NEEDS_CPUS }, async (t) => {
  const [plain, asking, owner] = [neighbour(), somePod(KEEPS_ALL), somePod(KEEPS_ALL)];
  const node = await startNode(t, { pods: [plain, asking, owner] });
  const { kubelet, direct } = node;
  const before = await remainsOf(node);
  const whole = await sharedPool(node);

  // Without agent, store and shim: annotations of the pods are there, stamps are not.
  const made: { readonly pod: typeof plain; readonly running: Awaited<ReturnType<CriClient['makePod']>> }[] = [];
  let pids: readonly number[] = [];
  await node.restartAgent(async () => {
    await rm(join(node.stateDirectory, 'state'), { recursive: true });
    for (const pod of [plain, asking]) made.push({ pod, running: await direct.makePod(pod) });
    pids = await processes(direct, idsOf());
  });
  function idsOf(): readonly string[] {
    return made.map(({ running }) => running.containerIds.get('app') ?? '');
  }
  const [plainId = '', askingId = ''] = idsOf();
  const askingPod = made[1]?.running;
  if (askingPod === undefined) throw new Error('the pods were not made');

  await t.test('they run on, on all CPUs, and own nothing yet', async (t) => {
    t.strictSame(await processes(direct, idsOf()), pids, 'the same processes');
    for (const id of idsOf()) t.equal((await confinementOf(node, id)).cpus, whole);
    t.strictSame(
      (await allocationsOf(node)).filter(({ containers }) => containers.some(({ cpuset }) => cpuset === 'exclusive')),
      [],
    );
  });

  await leaveNote(kubelet, askingId);

  await t.test('they leave CPUs that another pod gets, without a restart', async (t) => {
    const running = await kubelet.makePod(owner);
    const owned = CpuSet.parse((await confinementOf(node, running.containerIds.get('app') ?? '')).cpus);
    await assertNoDoubleUse(t, node);
    for (const id of idsOf()) {
      t.notOk(
        CpuSet.parse((await confinementOf(node, id)).cpus).overlaps(owned),
        `${id} is off CPUs ${owned.toString()}`,
      );
    }
    t.strictSame(await processes(direct, idsOf()), pids, 'the same processes');
    await kubelet.deletePod(owner.uid);
    await node.writePods([plain, asking]);
    await settles(t, 'they have all CPUs again', whole, async () => (await confinementOf(node, plainId)).cpus);
  });

  await t.test(
    'the next container of a pod that asks for it owns its CPUs, and keeps its data from then on',
    async (t) => {
      await crash(kubelet, askingId, until);
      const next = await ensureRunning(kubelet, askingPod, 'next');
      t.equal(CpuSet.parse((await confinementOf(node, next)).cpus).size, 1, 'one CPU, as its limit says');
      t.equal(
        await dataOf(kubelet, next),
        'started undeleted',
        'a layer that Holdfast did not see begin is not taken over',
      );
      await assertNoDoubleUse(t, node);
      await leaveNote(kubelet, next);
      await crash(kubelet, next, until);
      const afterThat = await ensureRunning(kubelet, askingPod, 'next');
      t.equal(await dataOf(kubelet, afterThat), 'started started noted');
    },
  );

  for (const { uid } of [plain, asking, owner]) await kubelet.deletePod(uid);
  await node.writePods([]);
  await settles(t, 'nothing is left', before, () => remainsOf(node));
});
