// The agent is away, killed or hanging, at each intercepted call: what could lose data or CPUs is refused with the
// reason, everything else passes, and afterwards everything is as if the agent had been there.
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import type { RunningPod } from '../../../agent/cli/quickstart/cri-client.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { isServiceError } from '../../../lib/grpc-client.ts';
import { RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { allocationsOf, assertNoDoubleUse, confinementOf, remainsOf, sharedPool, versionOf } from './facts.ts';
import { NEEDS_ROOT, retrying, settles, startNode, type TestNode, until } from './harness.ts';
import { containersOf, crash, dataOf, ensureRunning, KEEPS_ALL, leaveNote, neighbour, somePod } from './pods.ts';

const { method } = RuntimeService;
/** The shim waits for the agent no longer than half of it. */
const SHORT = { timeoutMs: 10_000 };

interface Away {
  readonly leave: (node: TestNode) => Promise<void>;
  readonly comeBack: (node: TestNode) => Promise<void>;
}

const WAYS: Readonly<Record<string, Away>> = {
  killed: { leave: ({ agent }) => agent.kill('SIGKILL'), comeBack: ({ agent }) => agent.start() },
  hanging: {
    leave: async ({ agent }) => void process.kill(agent.pid() ?? 0, 'SIGSTOP'),
    comeBack: async ({ agent }) => void process.kill(agent.pid() ?? 0, 'SIGCONT'),
  },
};

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'passed';
  } catch (error) {
    return isServiceError(error) ? `${status[error.code]} ${error.details}` : String(error);
  }
}

async function makeApp(node: TestNode, pod: ReturnType<typeof somePod>): Promise<{ pod: RunningPod; id: string }> {
  const running = await node.kubelet.makePod(pod);
  return { pod: running, id: running.containerIds.get('app') ?? '' };
}

async function whileAway(t: Test, node: TestNode, { leave, comeBack }: Away): Promise<void> {
  const { kubelet } = node;
  const whole = await sharedPool(node);
  const keeps = { 'holdfast.dev/restart': 'reuse' };
  const owner = await makeApp(node, somePod(KEEPS_ALL));
  await leaveNote(kubelet, owner.id);
  const dead = await makeApp(node, somePod(keeps));
  await leaveNote(kubelet, dead.id);
  await crash(kubelet, dead.id, until);
  const inSandbox = await makeApp(node, somePod(keeps));
  await leaveNote(kubelet, inSandbox.id);
  const [stopped, removed, drained] = [
    await makeApp(node, neighbour()),
    await makeApp(node, neighbour()),
    await makeApp(node, neighbour()),
  ];
  await crash(kubelet, removed.id, until);
  const startable = await kubelet.runPod(somePod(keeps));
  const startableId = await kubelet.createContainer(startable, 'app');
  const empty = await kubelet.runPod(neighbour());
  const mask = await sharedPool(node);

  const versionBefore = await versionOf(node);
  await leave(node);
  const [create, removal, sandboxRemoval] = await Promise.all([
    refusal(kubelet.createContainer(dead.pod, 'app', 1, {}, AbortSignal.timeout(30_000))),
    refusal(kubelet.call(method.removeContainer, { containerId: dead.id }, SHORT)),
    refusal(kubelet.call(method.removePodSandbox, { podSandboxId: inSandbox.pod.sandboxId }, SHORT)),
  ]);
  for (const [what, outcome] of Object.entries({ create, removal, sandboxRemoval })) {
    t.match(outcome, /^UNAVAILABLE .*restart: reuse.* the agent is away .*tries again/, `${what} is refused`);
  }
  const [fresh, protectedSandbox] = await Promise.all([
    kubelet.runPod(neighbour()),
    kubelet.runPod(somePod(keeps)),
    kubelet.call(method.startContainer, { containerId: startableId }, SHORT),
    kubelet.call(method.updateContainerResources, { containerId: owner.id, linux: { cpuShares: 2000n } }, SHORT),
    kubelet.call(method.stopContainer, { containerId: stopped.id, timeout: 0n }, SHORT),
    kubelet.call(method.stopPodSandbox, { podSandboxId: inSandbox.pod.sandboxId }, SHORT),
    kubelet.call(method.removeContainer, { containerId: removed.id }, SHORT),
    kubelet.call(method.removePodSandbox, { podSandboxId: drained.pod.sandboxId }, SHORT),
  ]);
  const unseen = await Promise.all([fresh, empty].map((pod) => kubelet.createContainer(pod, 'app', 0)));
  await Promise.all(unseen.map((id) => kubelet.startContainer(id)));
  for (const id of unseen) t.equal((await confinementOf(node, id)).cpus, mask, 'created inside the published mask');
  t.equal(await kubelet.containerStatus(removed.id), undefined, 'the default container was removed');
  t.equal((await containersOf(kubelet, drained.pod.uid)).length, 0, 'the sandbox with a default container was removed');

  await comeBack(node);
  await until('the agent to answer', async () => (await allocationsOf(node)).length > 0);
  t.ok(
    (await versionOf(node)) > versionBefore,
    'versions never go back, and what changed meanwhile has one of its own',
  );
  await assertNoDoubleUse(t, node);
  const known = async (): Promise<unknown> => {
    const uids = new Set((await allocationsOf(node)).map(({ uid }) => uid));
    return [fresh, empty].map(({ uid }) => uids.has(uid));
  };
  await settles(t, 'containers that the agent has not seen are in its books', [true, true], known);
  // The shim tries to reach the agent twice a second: until then it is still away, and the kubelet tries again.
  const next = await retrying('the next attempt', () => ensureRunning(kubelet, dead.pod, 'next'));
  t.equal(await dataOf(kubelet, next), 'started started noted');
  await kubelet.removePodSandbox(inSandbox.pod.sandboxId);
  const again = await ensureRunning(kubelet, await kubelet.runPod(inSandbox.pod, 1), 'next');
  t.equal(await dataOf(kubelet, again), 'started started noted', 'the layer of the removed sandbox was kept');
  await ensureRunning(kubelet, protectedSandbox, 'next');

  await kubelet.deletePod(owner.pod.uid);
  await settles(t, 'they follow the pool, which has grown', [whole, whole], async () => {
    return (await Promise.all(unseen.map((id) => confinementOf(node, id)))).map(({ cpus }) => cpus);
  });
  t.ok(CpuSet.parse(mask).isSubsetOf(CpuSet.parse(whole)));
}

for (const [name, away] of Object.entries(WAYS)) {
  t.test(`the agent is ${name}`, { skip: NEEDS_ROOT }, async (t) => {
    // The kept layer of a pod without a sandbox must outlast the moment between two sandboxes.
    const node = await startNode(t, { config: { holdings: { gracePeriod: '3s' } } });
    const before = await remainsOf(node);
    await whileAway(t, node, away);
    for (const uid of new Set((await node.kubelet.listPodSandboxes()).map(({ metadata }) => metadata?.uid ?? ''))) {
      await node.kubelet.deletePod(uid);
    }
    await settles(t, 'nothing is left', before, () => remainsOf(node));
  });
}
