// The pods of these tests, and what there is to see of them: in the API, in containerd, and in the kernel.
import { readFile } from 'node:fs/promises';
import type { KubernetesObject, V1Pod, V1PodSpec } from '@kubernetes/client-node';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import {
  type Container,
  ContainerState,
  type PodSandbox,
  RuntimeService,
} from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { Cluster } from './cluster.ts';
import { until } from './wait.ts';

const NAMESPACE = 'default';
/** The container that every pod here has. */
export const APP = 'app';
/** Every start leaves a line in the container's own file system. */
export const HISTORY = '/root/history';

export interface PodOptions {
  readonly annotations?: Readonly<Record<string, string>>;
  /** For /bin/sh, after the line in {@link HISTORY}. Default: runs until it is stopped. */
  readonly script?: string;
  /** A quantity. Default: a tenth of a CPU. */
  readonly cpu?: string;
  readonly spec?: Partial<V1PodSpec>;
}

/** What a Job or a pod runs: one Guaranteed container. */
export function podSpec({ script = 'while true; do sleep 1; done', cpu = '100m', spec }: PodOptions): V1PodSpec {
  const limits = { cpu, memory: '32Mi' };
  const command = ['/bin/sh', '-c', `trap 'exit 0' TERM; echo started >> ${HISTORY}; ${script}`];
  return {
    // The cluster has no DNS.
    dnsPolicy: 'Default',
    terminationGracePeriodSeconds: 5,
    containers: [{ name: APP, image: APP_IMAGE, imagePullPolicy: 'Never', command, resources: { limits } }],
    ...spec,
  };
}

export function somePod(name: string, options: PodOptions = {}): V1Pod & KubernetesObject {
  const metadata = { name, namespace: NAMESPACE, annotations: { ...options.annotations } };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: podSpec(options) };
}

/** The name of the pod that was made for a Job. */
export async function podOfJob({ core }: Cluster, job: string): Promise<string> {
  let name: string | undefined;
  await until(`the pod of Job ${job}`, async () => {
    const { items } = await core.listNamespacedPod({ namespace: NAMESPACE, labelSelector: `job-name=${job}` });
    name = items[0]?.metadata?.name;
    return name !== undefined;
  });
  return name ?? '';
}

/** A container that runs, as the API tells it and as it is. */
export interface RunningApp {
  readonly podUid: string;
  readonly podIp: string;
  /** containerd's. */
  readonly containerId: string;
  /** On the host. */
  readonly processId: number;
}

/** undefined unless the API says that it runs. */
async function appInApi({ core }: Cluster, name: string): Promise<Omit<RunningApp, 'processId'> | undefined> {
  const { metadata, status } = await core.readNamespacedPod({ namespace: NAMESPACE, name });
  const app = status?.containerStatuses?.find((each) => each.name === APP);
  if (app?.state?.running === undefined) return undefined;
  const containerId = app.containerID?.replace('containerd://', '') ?? '';
  return { podUid: metadata?.uid ?? '', podIp: status?.podIP ?? '', containerId };
}

/**
 * Waits until the pod's container runs.
 * @param former - another container than this one; the count of restarts does not tell, for the kubelet begins it anew
 * when it has collected the dead container before it looks at the pod
 */
export async function runningApp(
  cluster: Cluster,
  name: string,
  former?: Pick<RunningApp, 'containerId'>,
): Promise<RunningApp> {
  let found: RunningApp | undefined;
  await until(`pod ${name} to run${former === undefined ? '' : ' in another container'}`, async () => {
    const app = await appInApi(cluster, name);
    if (app === undefined || app.containerId === former?.containerId) return false;
    found = { ...app, processId: await cluster.host.direct.processId(app.containerId) };
    return true;
  });
  if (found === undefined) throw new Error('until returns when it was found');
  return found;
}

/** Waits, without asking the API server, until another container of the pod than this one runs. */
export async function observedApp(
  cluster: Cluster,
  podUid: string,
  formerId: string,
): Promise<Pick<RunningApp, 'containerId' | 'processId'>> {
  let containerId = '';
  await until(`another container than ${formerId} to run`, async () => {
    const running = await containersOf(cluster, podUid, ContainerState.CONTAINER_RUNNING);
    containerId = running.find(({ id }) => id !== formerId)?.id ?? '';
    return containerId !== '';
  });
  return { containerId, processId: await cluster.host.direct.processId(containerId) };
}

/** A file of the container's own file system, as the kernel has it. */
export async function fileOf({ processId }: Pick<RunningApp, 'processId'>, path: string): Promise<string> {
  return (await readFile(`/proc/${processId}/root${path}`, 'utf8')).trim();
}

/** How often a container with this writable layer was started. */
export async function startsOf(app: Pick<RunningApp, 'processId'>): Promise<number> {
  return (await fileOf(app, HISTORY)).split('\n').length;
}

/** Where the kernel lets the container run. */
export async function cpusOf({ processId }: Pick<RunningApp, 'processId'>): Promise<CpuSet> {
  const text = await readFile(`/proc/${processId}/status`, 'utf8');
  return CpuSet.parse(/^Cpus_allowed_list:\s*(\S*)$/m.exec(text)?.[1] ?? '');
}

/** Kills the container's process, as the kernel does when memory runs out. */
export function crash({ processId }: Pick<RunningApp, 'processId'>): void {
  process.kill(processId, 'SIGKILL');
}

/** Containerd's containers of the pod that are in this state. */
export async function containersOf(
  { host }: Cluster,
  podUid: string,
  wanted: ContainerState,
): Promise<readonly Container[]> {
  return (await host.direct.listContainers(podUid)).filter(({ state }) => state === wanted);
}

/** The pod's sandboxes, the newest first. */
export async function sandboxesOf({ host }: Cluster, podUid: string): Promise<readonly PodSandbox[]> {
  const sandboxes = await host.direct.listPodSandboxes(podUid);
  return sandboxes.toSorted((a, b) => Number(b.createdAt - a.createdAt));
}

/** The process that holds the sandbox's namespaces. */
export async function sandboxProcess({ host }: Cluster, podSandboxId: string): Promise<number> {
  const method = RuntimeService.method.podSandboxStatus;
  const { info } = await host.direct.call(method, { podSandboxId, verbose: true });
  const pid = /"pid":(\d+)/.exec(info['info'] ?? '')?.[1];
  if (pid === undefined || pid === '0') throw new Error(`sandbox ${podSandboxId} has no process`);
  return Number(pid);
}
