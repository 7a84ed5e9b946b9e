// CreateContainer interrupted at several moments: by the caller, by kill -9 of the cri-shim, by kill -9 of containerd.
// The kubelet tries again with the same attempt; the data is there, once.
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { RunningPod } from '../../../agent/cli/quickstart/cri-client.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { ContainerState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { assertNoDoubleUse, confinementOf, leasesOf, remainsOf } from './facts.ts';
import { NEEDS_ROOT, PATIENCE_MS, retrying, settles, startNode, type TestNode, until } from './harness.ts';
import { containersOf, crash, dataOf, KEEPS_ALL, leaveNote, somePod } from './pods.ts';

/** When to interrupt: some time after the call, or as soon as the runtime lists the container. */
type Moment = number | 'listed';
const MOMENTS: readonly Moment[] = [0, 5, 15, 'listed', 30, 60];

interface Interruption {
  readonly interrupt: (node: TestNode, call: AbortController) => Promise<void>;
  readonly mend: (node: TestNode) => Promise<void>;
}

const INTERRUPTIONS: Readonly<Record<string, Interruption>> = {
  'the caller gives up': {
    interrupt: async (_node, call) => call.abort(new Error('the caller gave up')),
    mend: async () => undefined,
  },
  'the cri-shim is killed': { interrupt: ({ shim }) => shim.kill('SIGKILL'), mend: ({ shim }) => shim.start() },
  'containerd is killed': {
    interrupt: ({ containerd }) => containerd.kill('SIGKILL'),
    mend: ({ containerd }) => containerd.start(),
  },
};

async function moment(node: TestNode, pod: RunningPod, attempt: number, when: Moment): Promise<void> {
  if (when !== 'listed') {
    await delay(when);
    return;
  }
  await pollUntil('the runtime to list the container', PATIENCE_MS, async () =>
    (await containersOf(node.direct, pod.uid)).find(({ metadata }) => metadata?.attempt === attempt),
  );
}

/**
 * As the kubelet's garbage collection, which spares only what runs: a container whose state a killed containerd had not
 * written yet is UNKNOWN to the next one, and keeps the name of its attempt reserved.
 */
async function collectUnknown({ direct, kubelet }: TestNode, pod: RunningPod): Promise<void> {
  for (const { id, state } of await containersOf(direct, pod.uid)) {
    if (state === ContainerState.CONTAINER_UNKNOWN) await kubelet.removeContainer(id);
  }
}

/** @returns the container that runs in the end */
async function createInterrupted(
  t: Test,
  node: TestNode,
  pod: RunningPod,
  attempt: number,
  { interrupt, mend }: Interruption,
  when: Moment,
): Promise<string> {
  const call = new AbortController();
  const outcome = node.kubelet.createContainer(pod, 'app', attempt, {}, call.signal).then(
    (id) => ({ id }),
    (error: unknown) => ({ error }),
  );
  await moment(node, pod, attempt, when);
  await interrupt(node, call);
  const first = await outcome;
  t.comment('id' in first ? 'created before that' : String(first.error).slice(0, 200));
  await mend(node);
  const again = async (): Promise<string> => {
    await collectUnknown(node, pod);
    return await node.kubelet.createContainer(pod, 'app', attempt);
  };
  const id = 'id' in first ? first.id : await retrying('the retry', again);
  await retrying('the start', () => node.kubelet.startContainer(id));
  return id;
}

for (const [name, interruption] of Object.entries(INTERRUPTIONS)) {
  t.test(`${name} during CreateContainer`, { skip: NEEDS_ROOT }, async (t) => {
    const node = await startNode(t);
    const { kubelet } = node;
    const before = await remainsOf(node);
    const running = await kubelet.makePod(somePod(KEEPS_ALL));
    let id = running.containerIds.get('app') ?? '';
    await leaveNote(kubelet, id);
    const confinement = await confinementOf(node, id);
    let history = 'started';
    for (const [index, when] of MOMENTS.entries()) {
      await crash(kubelet, id, until);
      id = await createInterrupted(t, node, running, index + 1, interruption, when);
      history += ' started';
      t.equal(await dataOf(kubelet, id), `${history} noted`, `${when}: the data is there`);
      t.strictSame(await confinementOf(node, id), confinement, `${when}: the CPUs and the memory node are the same`);
      const live = (await containersOf(node.direct, running.uid)).filter(
        ({ state }) => state !== ContainerState.CONTAINER_EXITED,
      );
      t.strictSame(
        live.map((container) => container.id),
        [id],
        `${when}: nothing else was left behind`,
      );
    }
    await assertNoDoubleUse(t, node);
    await settles(t, 'no lease is left', [], () => leasesOf(node));
    await retrying('the deletion', () => kubelet.deletePod(running.uid));
    await settles(t, 'nothing is left', before, () => remainsOf(node));
  });
}

t.test('StartContainer fails after the hand-over', { skip: NEEDS_ROOT }, async (t) => {
  const node = await startNode(t);
  const { kubelet } = node;
  const before = await remainsOf(node);
  const running = await kubelet.makePod(somePod(KEEPS_ALL));
  const first = running.containerIds.get('app') ?? '';
  await leaveNote(kubelet, first);
  const confinement = await confinementOf(node, first);
  await crash(kubelet, first, until);
  for (const attempt of [1, 2]) {
    const failing = await kubelet.createContainer(running, 'app', attempt, { command: ['/does/not/exist'] });
    await t.rejects(kubelet.startContainer(failing), /does\/not\/exist/, `attempt ${attempt} does not start`);
  }
  // The kubelet removes all but the newest of the dead ones.
  await kubelet.removeContainer(first);
  const id = await kubelet.restartContainer(running, 'app');
  t.equal(await dataOf(kubelet, id), 'started started noted', 'the next attempt has the data');
  t.strictSame(await confinementOf(node, id), confinement);
  await kubelet.deletePod(running.uid);
  await settles(t, 'nothing is left', before, () => remainsOf(node));
});
