// The agent's store is damaged or gone: it starts all the same, and data, CPUs and layers are as before.
import { randomBytes } from 'node:crypto';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { allocationsOf, assertNoDoubleUse, confinementOf, leasesOf, remainsOf, sharedPool } from './facts.ts';
import { NEEDS_ROOT, settles, startNode, until } from './harness.ts';
import { crash, dataOf, ensureRunning, KEEPS_ALL, leaveNote, neighbour, somePod } from './pods.ts';

/** Fills files with random bytes, each as long as it was. @returns how many */
async function scramble(directory: string, concerns: (name: string) => boolean): Promise<number> {
  let count = 0;
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const { size } = await stat(path);
    if (size === 0 || !concerns(name)) continue;
    await writeFile(path, randomBytes(size));
    count += 1;
  }
  return count;
}

const DAMAGES: Readonly<Record<string, (directory: string) => Promise<number>>> = {
  'the database is full of random bytes': (directory) => scramble(directory, (name) => name === 'state.mdb'),
  'every file is full of random bytes': (directory) => scramble(directory, (name) => name !== 'lock'),
  'the directory is gone': async (directory) => {
    const { length } = await readdir(directory);
    await rm(directory, { recursive: true });
    return length;
  },
};

t.test('the store is lost while the agent is down', { skip: NEEDS_ROOT }, async (t) => {
  const [pod, shelved, beside] = [somePod(KEEPS_ALL), somePod({ 'holdfast.dev/restart': 'reuse' }), neighbour()];
  const node = await startNode(t, { pods: [pod, shelved, beside] });
  const { kubelet } = node;
  const before = await remainsOf(node);
  const running = await kubelet.makePod(pod);
  let id = running.containerIds.get('app') ?? '';
  await leaveNote(kubelet, id);
  const confinement = await confinementOf(node, id);
  const other = (await kubelet.makePod(beside)).containerIds.get('app') ?? '';
  const shelf = await kubelet.makePod(shelved);
  let shelvedId = shelf.containerIds.get('app') ?? '';
  await leaveNote(kubelet, shelvedId);
  let history = 'started';

  for (const [name, damage] of Object.entries(DAMAGES)) {
    await t.test(name, async (t) => {
      await crash(kubelet, shelvedId, until);
      for (const container of await kubelet.listContainers(shelved.uid)) await kubelet.removeContainer(container.id);
      const owned = (await allocationsOf(node)).filter(({ uid }) => uid === pod.uid);
      // The lease of a layer that was handed over goes in the background.
      const countLeases = async (): Promise<number> => (await leasesOf(node)).length;
      await settles(t, 'one layer is kept without a container', 1, countLeases);
      const [pool, leases] = [await sharedPool(node), await leasesOf(node)];

      await node.restartAgent(async () => {
        t.not(await damage(join(node.stateDirectory, 'state')), 0, 'something was damaged');
      });
      t.strictSame(
        (await allocationsOf(node)).filter(({ uid }) => uid === pod.uid),
        owned,
        'the pod has its CPUs and its memory',
      );
      t.equal(await sharedPool(node), pool);
      t.strictSame(await leasesOf(node), leases);
      t.equal((await confinementOf(node, other)).cpus, pool, 'the neighbour is where it was');
      await assertNoDoubleUse(t, node);

      history += ' started';
      await crash(kubelet, id, until);
      id = await ensureRunning(kubelet, running, 'next');
      t.equal(await dataOf(kubelet, id), `${history} noted`, 'the layer of a container');
      t.strictSame(await confinementOf(node, id), confinement);
      shelvedId = await ensureRunning(kubelet, shelf, 'next');
      t.equal(await dataOf(kubelet, shelvedId), `${history} noted`, 'the layer that was kept');
    });
  }
  await node.writePods([]);
  for (const { uid } of [pod, shelved, beside]) await kubelet.deletePod(uid);
  await settles(t, 'nothing is left', before, () => remainsOf(node));
});
