// The five steps of quickstart. Each does what a kubelet or an accident would do, and looks at what came of it.
import { create, toJsonString } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { HoldfastError } from '../../../lib/errors.ts';
import { isServiceError } from '../../../lib/grpc-client.ts';
import {
  ListAllocationsRequestSchema,
  ListAllocationsResponseSchema,
  Topology,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { ContainerState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { askAgent } from '../ask-agent.ts';
import type { RunningPod } from './cri-client.ts';
import { type Observed, observe } from './observe.ts';
import type { QuickstartPods } from './pods.ts';
import { pollUntil } from './poll.ts';
import type { PrivateHost } from './private-host.ts';
import { isAlive } from './process.ts';
import type { Report } from './report.ts';

const EXIT_TIMEOUT_MS = 10_000;

export interface TourContext {
  readonly host: PrivateHost;
  readonly pods: QuickstartPods;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** What one step leaves for those that follow. */
interface Web {
  readonly pod: RunningPod;
  readonly containerId: string;
  readonly seen: Observed;
}

function place({ cpus, mems }: Observed): string {
  return `Cpus_allowed_list ${cpus.toString()}, Mems_allowed_list ${mems.toString()}`;
}

async function historyOf({ host }: TourContext, containerId: string): Promise<readonly string[]> {
  const { stdout } = await host.kubelet.exec(containerId, 'cat', '/var/history');
  return stdout.trimEnd().split('\n');
}

async function startWeb(context: TourContext, neighbour: Observed): Promise<Web> {
  const { host, pods, report } = context;
  const annotations = Object.entries(pods.web.annotations ?? {});
  report.step(`A pod with ${annotations.map(([key, value]) => `${key}: ${value}`).join(', ')}`);
  if (pods.exclusiveCpus === 0) {
    report.note('This host has one CPU, which cannot be given away: holdfast.dev/cpuset: exclusive is left out.');
  }
  const pod = await host.kubelet.runPod(pods.web);
  const containerId = await host.kubelet.createContainer(pod, 'app', 0, { env: { ATTEMPT: '0' } });
  await host.kubelet.startContainer(containerId);
  const seen = await observe(host.kubelet, containerId);
  const wrote = async (): Promise<true | undefined> =>
    (await historyOf(context, containerId)).length > 0 ? true : undefined;
  await pollUntil('the container to write its file', EXIT_TIMEOUT_MS, wrote, context.signal);
  const generation = (await host.kubelet.exec(containerId, 'cat', '/etc/generation')).stdout.trim();
  report.claim(generation === '1', 'it has the root filesystem of its image', `/etc/generation says "${generation}"`);
  await host.kubelet.exec(containerId, 'rm', '/etc/generation');
  if (pods.exclusiveCpus > 0) {
    report.claim(seen.cpus.size === pods.exclusiveCpus, 'it has CPUs of its own', place(seen));
  }
  report.claim(seen.mems.size === 1, 'it has memory of one NUMA node', place(seen));
  report.claim(
    seen.cpus.isSubsetOf(neighbour.cpus),
    'its CPUs are among those that were shared before',
    neighbour.cpus.toString(),
  );
  report.note('It writes a line to /var/history in its own root filesystem, and /etc/generation is deleted from it.');
  return { pod, containerId, seen };
}

async function restartWeb(context: TourContext, web: Web): Promise<Web> {
  const { host, report, signal } = context;
  report.step('The container is killed, and the next attempt is created');
  process.kill(web.seen.process.pid, 'SIGKILL');
  const exited = async (): Promise<true | undefined> =>
    (await host.kubelet.containerStatus(web.containerId))?.state === ContainerState.CONTAINER_EXITED ? true : undefined;
  await pollUntil('the runtime to see the container’s end', EXIT_TIMEOUT_MS, exited, signal);
  const containerId = await host.kubelet.restartContainer(web.pod, 'app', { env: { ATTEMPT: '1' } });
  const lines = async (): Promise<readonly string[] | undefined> => {
    const history = await historyOf(context, containerId);
    return history.at(-1)?.startsWith('attempt 1') === true ? history : undefined;
  };
  const history = await pollUntil('the next attempt to write its line', EXIT_TIMEOUT_MS, lines, signal);
  const deleted = await host.kubelet.exec(containerId, 'test', '-e', '/etc/generation');
  const seen = await observe(host.kubelet, containerId);
  report.claim(
    containerId !== web.containerId,
    'it is another container',
    `${web.containerId.slice(0, 12)} → ${containerId.slice(0, 12)}`,
  );
  report.claim(
    history.join() === 'attempt 0 began,attempt 1 began',
    '/var/history has the lines of both attempts',
    history.map((line) => `"${line}"`).join(', '),
  );
  report.claim(deleted.exitCode !== 0, '/etc/generation is still deleted', `test -e says ${deleted.exitCode}`);
  report.claim(
    seen.cpus.equals(web.seen.cpus) && seen.mems.equals(web.seen.mems),
    'CPUs and memory node are the same',
    place(seen),
  );
  return { ...web, containerId, seen };
}

/** Who owns what, as text that is the same for the same allocations. */
async function allocations({ topologySocket }: PrivateHost): Promise<string> {
  const request = create(ListAllocationsRequestSchema);
  const response = await askAgent(topologySocket, Topology.method.listAllocations, request);
  const pods = response.pods.toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
  // Without the version, which another agent never repeats.
  return toJsonString(ListAllocationsResponseSchema, create(ListAllocationsResponseSchema, { pods }));
}

async function killAgent(context: TourContext, web: Web): Promise<void> {
  const { host, report, signal } = context;
  report.step('The agent is killed with SIGKILL and started again');
  const before = { pid: host.agent.pid(), allocations: await allocations(host) };
  await host.agent.kill('SIGKILL');
  report.claim(
    await isAlive(web.seen.process),
    'the container runs on without the agent',
    `process ${web.seen.process.pid}`,
  );
  await host.agent.start({ signal });
  const after = { pid: host.agent.pid(), allocations: await allocations(host) };
  const seen = await observe(host.kubelet, web.containerId);
  const same = before.allocations === after.allocations && after.allocations.includes(web.pod.uid);
  report.claim(
    same,
    'the new agent knows who owns what',
    same
      ? `process ${before.pid} → ${after.pid}, the same allocations`
      : `${before.allocations} → ${after.allocations}`,
  );
  const noticed = seen.process.pid !== web.seen.process.pid || seen.process.startTicks !== web.seen.process.startTicks;
  report.claim(
    !noticed && seen.cpus.equals(web.seen.cpus),
    'the container never noticed',
    `${place(seen)}, still process ${seen.process.pid}`,
  );
  const history = await historyOf(context, web.containerId);
  report.claim(history.length === 2, 'nothing was lost', `/var/history has ${history.length} lines`);
}

async function lookAtNeighbour(context: TourContext, web: Web, containerId: string, before: Observed): Promise<void> {
  const { host, report, pods } = context;
  report.step('A neighbour with the default policy, which ran before the pod came');
  const now = await observe(host.kubelet, containerId);
  if (pods.exclusiveCpus === 0) {
    report.claim(now.cpus.equals(before.cpus), 'with one CPU it has nowhere to move', place(now));
    return;
  }
  report.claim(
    !now.cpus.overlaps(web.seen.cpus) && !now.cpus.isEmpty,
    `it moved out of the exclusive CPUs ${web.seen.cpus.toString()}`,
    `Cpus_allowed_list ${before.cpus.toString()} → ${now.cpus.toString()}`,
  );
  const sameProcess = now.process.pid === before.process.pid && now.process.startTicks === before.process.startTicks;
  report.claim(sameProcess, 'and was not restarted for it', `still process ${now.process.pid}`);
}

/** As `kubectl describe pod` shows the event that the kubelet makes of a failed call. */
function eventLine(reason: string, message: string): string {
  return [
    'Type     Reason                  From     Message',
    '----     ------                  ----     -------',
    `Warning  ${reason.padEnd(22)}  kubelet  ${message}`,
  ].join('\n');
}

async function refuseGreedy({ host, report, pods }: TourContext): Promise<void> {
  const wanted = (pods.greedy.containers[0]?.cpuLimit ?? 0) / 1000;
  report.step(
    `A pod that cannot fit: ${wanted} exclusive CPU${wanted === 1 ? '' : 's'}, which is all that the host has`,
  );
  let event = 'FailedCreatePodSandBox';
  try {
    const pod = await host.kubelet.runPod(pods.greedy);
    event = 'Failed';
    await host.kubelet.createContainer(pod, 'app');
  } catch (error) {
    if (!isServiceError(error)) throw error;
    const code = Object.entries(status).find(([, value]) => value === error.code)?.[0] ?? `${error.code}`;
    // The kubelet prints Go's names of the statuses: ResourceExhausted for RESOURCE_EXHAUSTED.
    const goName = code.toLowerCase().replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const rpcError = `rpc error: code = ${goName} desc = ${error.details}`;
    const message = event === 'Failed' ? `Error: ${error.details}` : `Failed to create pod sandbox: ${rpcError}`;
    report.claim(error.code === status.RESOURCE_EXHAUSTED, 'it is refused', goName);
    report.note('kubectl describe pod greedy:');
    report.block(eventLine(event, message));
    await host.kubelet.deletePod(pods.greedy.uid);
    return;
  }
  throw new HoldfastError('PRECONDITION', 'quickstart expected the pod "greedy" to be refused, but it was created');
}

/** @throws HoldfastError when something is not as promised */
export async function tour(context: TourContext): Promise<void> {
  const { host, pods } = context;
  const running = await host.kubelet.makePod(pods.neighbour);
  const neighbourId = running.containerIds.get('app') ?? '';
  const neighbour = await observe(host.kubelet, neighbourId);
  const first = await startWeb(context, neighbour);
  const second = await restartWeb(context, first);
  await killAgent(context, second);
  await lookAtNeighbour(context, second, neighbourId, neighbour);
  await refuseGreedy(context);
}
