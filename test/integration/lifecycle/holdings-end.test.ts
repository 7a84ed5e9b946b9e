// When a pod's holdings end: CPUs go back to the pool, leases and layers go.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { allocationsOf, leasesOf, remainsOf } from './facts.ts';
import { NEEDS_ROOT, settles, startNode, type TestNode } from './harness.ts';
import { dataOf, ensureRunning, ensureSandbox, KEEPS_ALL, leaveNote, somePod } from './pods.ts';

/** So long that it ends nothing here: what is given back is given back for another reason. */
const LONG_GRACE = { holdings: { gracePeriod: '1h' } };
/** Some rounds of reconciling: that something does not happen announces itself by nothing. */
const ROUNDS_MS = 2500;

/** A pod whose sandbox was removed, while everything that it holds is still there. */
async function shelve(t: Test, node: TestNode, pod: PodDescription): Promise<void> {
  const running = await node.kubelet.makePod(pod);
  await leaveNote(node.kubelet, running.containerIds.get('app') ?? '');
  await node.kubelet.removePodSandbox(running.sandboxId);
  t.equal((await leasesOf(node)).length, 1, 'its layer is kept');
  t.strictSame(
    (await allocationsOf(node)).map(({ uid }) => uid),
    [pod.uid],
    'its place is kept',
  );
}

/** Rewrites the file of PodSource with the pod's phase, as its status has it. */
async function setPhase({ containerd: { directory } }: TestNode, phase: string): Promise<void> {
  const path = join(directory, 'pods.json');
  const list: { items: object[] } = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...list, items: list.items.map((item) => ({ ...item, status: { phase } })) }));
}

t.test('the pod was deleted', { skip: NEEDS_ROOT }, async (t) => {
  const pod = somePod(KEEPS_ALL);
  const node = await startNode(t, { pods: [pod], config: LONG_GRACE });
  const before = await remainsOf(node);
  await shelve(t, node, pod);
  const shelved = await leasesOf(node);
  // Nobody knows this one: the round that ends what it holds leaves the other alone.
  const unknown = await node.kubelet.makePod(somePod({ 'holdfast.dev/restart': 'reuse' }));
  await node.kubelet.removePodSandbox(unknown.sandboxId);
  await settles(t, 'a pod that PodSource knows keeps its layer', shelved, () => leasesOf(node));
  t.strictSame(
    (await allocationsOf(node)).map(({ uid }) => uid),
    [pod.uid],
    'and its place',
  );
  await node.writePods([]);
  await settles(t, 'everything was given back', before, () => remainsOf(node));
});

t.test('the pod has finished', { skip: NEEDS_ROOT }, async (t) => {
  const pod = somePod(KEEPS_ALL);
  const node = await startNode(t, { pods: [pod], config: LONG_GRACE });
  const before = await remainsOf(node);
  await shelve(t, node, pod);
  await setPhase(node, 'Succeeded');
  await settles(t, 'everything was given back', before, () => remainsOf(node));
});

t.test('no sandbox came back within the grace period', { skip: NEEDS_ROOT }, async (t) => {
  const pod = somePod(KEEPS_ALL);
  const node = await startNode(t, { config: { holdings: { gracePeriod: '6s' } } });
  const before = await remainsOf(node);
  await shelve(t, node, pod);
  await delay(ROUNDS_MS);
  const running = await ensureSandbox(node.kubelet, pod);
  const id = await ensureRunning(node.kubelet, running, 'next');
  t.equal(await dataOf(node.kubelet, id), 'started started noted', 'one that comes back in time finds everything');
  await node.kubelet.removePodSandbox(running.sandboxId);
  t.equal((await leasesOf(node)).length, 1);
  await settles(t, 'everything was given back', before, () => remainsOf(node));
});
