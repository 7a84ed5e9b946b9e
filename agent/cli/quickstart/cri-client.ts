// A CRI client that behaves like the kubelet: the same requests in the same order, on any CRI socket. One container of
// a name at a time; attempts are counted as the kubelet counts restarts.
import { mkdir, writeFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { create, type DescMethod, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { HoldfastError } from '../../../lib/errors.ts';
import { callUnary, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import {
  type Container,
  ContainerState,
  type ContainerStatus,
  type PodSandbox,
  RuntimeService,
} from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { createPodCgroup, type PodCgroupLimits } from './cgroup-tree.ts';
import {
  allContainers,
  type CgroupDriver,
  type ContainerDescription,
  containerConfig,
  type KubeletPaths,
  type PodDescription,
  podCgroupLimits,
  podCgroupPath,
  sandboxConfig,
} from './pod-requests.ts';

/** As long as the kubelet's own (runtimeRequestTimeout), in milliseconds. */
const CALL_TIMEOUT_MS = 120_000;

/** A sandbox that was run for a pod. */
export interface RunningPod extends PodDescription {
  readonly sandboxId: string;
  readonly sandboxAttempt: number;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** What the kubelet does on its host beside calling the runtime. */
export interface KubeletHost {
  /** @param path - from the root of the hierarchies; it is there already for a pod that gets another sandbox */
  readonly createPodCgroup: (path: string, limits: PodCgroupLimits) => Promise<void>;
  /** Makes directories, those above them too, then empty files where there are none. */
  readonly createPaths: (directories: readonly string[], files: readonly string[]) => Promise<void>;
}

export interface CriClientOptions {
  readonly socketPath: string;
  /** For logs, /etc/hosts and termination messages of pods; stands for /var/lib/kubelet and /var/log/pods. */
  readonly directory: string;
  readonly cgroupParent: string;
  /** Who makes cgroups; the runtime must be configured for the same. Default: cgroupfs. */
  readonly cgroupDriver?: CgroupDriver;
  /** Where the runtime runs; default: here. */
  readonly host?: KubeletHost;
}

const THIS_HOST: KubeletHost = {
  createPodCgroup,
  createPaths: async (directories, files) => {
    for (const directory of directories) await mkdir(directory, { recursive: true });
    for (const file of files) await writeFile(file, '', { flag: 'a' });
  },
};

type UnaryMethod = DescMethod & { readonly methodKind: 'unary' };

export class CriClient {
  readonly #client: ReturnType<typeof connectUnix>;
  readonly #paths: KubeletPaths;
  readonly #host: KubeletHost;

  constructor({ socketPath, directory, cgroupParent, cgroupDriver = 'cgroupfs', host = THIS_HOST }: CriClientOptions) {
    this.#client = connectUnix(socketPath);
    this.#paths = { root: join(directory, 'kubelet'), logs: join(directory, 'pod-logs'), cgroupParent, cgroupDriver };
    this.#host = host;
  }

  /** One call as it is; rejects with the ServiceError of the server. */
  async call<Method extends UnaryMethod>(
    method: Method,
    request: MessageInitShape<Method['input']>,
    options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<MessageShape<Method['output']>> {
    const message = create(method.input, request as MessageInitShape<UnaryMethod['input']>);
    return callUnary(this.#client, method, message as MessageShape<Method['input']>, {
      timeoutMs: CALL_TIMEOUT_MS,
      ...options,
    });
  }

  /** Makes the pod's cgroup and directories and runs its sandbox. */
  async runPod(pod: PodDescription, attempt = 0): Promise<RunningPod> {
    await this.#host.createPodCgroup(podCgroupPath(pod, this.#paths), podCgroupLimits(pod));
    const config = sandboxConfig(pod, attempt, this.#paths);
    await this.#host.createPaths([config.logDirectory], []);
    const { podSandboxId } = await this.call(RuntimeService.method.runPodSandbox, { config });
    return { ...pod, sandboxId: podSandboxId, sandboxAttempt: attempt };
  }

  /**
   * Creates a container of the pod, not yet started.
   * @param changes - what differs from the pod's description, such as another image
   * @returns its ID
   */
  async createContainer(
    pod: RunningPod,
    name: string,
    attempt = 0,
    changes: Partial<ContainerDescription> = {},
    signal?: AbortSignal,
  ): Promise<string> {
    const described = allContainers(pod).find((container) => container.name === name);
    if (described === undefined) throw new HoldfastError('BUG', `pod ${pod.name} has no container called ${name}`);
    const container = { ...described, ...changes };
    const config = containerConfig(pod, container, attempt, this.#paths, totalmem());
    const sandbox = sandboxConfig(pod, pod.sandboxAttempt, this.#paths);
    const mounted = config.mounts.map(({ hostPath }) => hostPath);
    const logFile = join(sandbox.logDirectory, config.logPath);
    await this.#host.createPaths([...mounted, logFile].map(dirname), mounted);
    const request = { podSandboxId: pod.sandboxId, config, sandboxConfig: sandbox };
    return (await this.call(RuntimeService.method.createContainer, request, signal && { signal })).containerId;
  }

  async startContainer(containerId: string): Promise<void> {
    await this.call(RuntimeService.method.startContainer, { containerId });
  }

  /** Runs a pod with all its containers. */
  async makePod(pod: PodDescription): Promise<RunningPod & { readonly containerIds: ReadonlyMap<string, string> }> {
    const running = await this.runPod(pod);
    const containerIds = new Map<string, string>();
    for (const { name } of pod.containers) {
      const id = await this.createContainer(running, name);
      await this.startContainer(id);
      containerIds.set(name, id);
    }
    return { ...running, containerIds };
  }

  /**
   * What the kubelet does when a container has died: creates and starts the next attempt, then removes all but the
   * newest of the dead ones.
   * @returns the ID of the new container
   */
  async restartContainer(pod: RunningPod, name: string, changes: Partial<ContainerDescription> = {}): Promise<string> {
    const earlier = (await this.listContainers(pod.uid)).filter((each) => each.metadata?.name === name);
    const attempt = Math.max(-1, ...earlier.map((each) => each.metadata?.attempt ?? 0)) + 1;
    const id = await this.createContainer(pod, name, attempt, changes);
    await this.startContainer(id);
    const dead = earlier
      .filter(({ state }) => state === ContainerState.CONTAINER_EXITED)
      .sort((a, b) => Number(b.createdAt - a.createdAt));
    for (const { id: old } of dead.slice(1)) await this.removeContainer(old);
    return id;
  }

  /** @param graceSeconds - between TERM and KILL */
  async stopContainer(containerId: string, graceSeconds = 2): Promise<void> {
    await this.call(RuntimeService.method.stopContainer, { containerId, timeout: BigInt(graceSeconds) });
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.call(RuntimeService.method.removeContainer, { containerId });
  }

  async stopPodSandbox(podSandboxId: string): Promise<void> {
    await this.call(RuntimeService.method.stopPodSandbox, { podSandboxId });
  }

  async removePodSandbox(podSandboxId: string): Promise<void> {
    await this.call(RuntimeService.method.removePodSandbox, { podSandboxId });
  }

  /** What the kubelet does with a deleted pod: containers stopped, sandboxes stopped, all of them removed. */
  async deletePod(podUid: string, graceSeconds = 0): Promise<void> {
    const containers = await this.listContainers(podUid);
    const sandboxes = await this.listPodSandboxes(podUid);
    const running = containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING);
    await Promise.all(running.map(({ id }) => this.stopContainer(id, graceSeconds)));
    for (const { id } of sandboxes) await this.stopPodSandbox(id);
    for (const { id } of containers) await this.removeContainer(id);
    for (const { id } of sandboxes) await this.removePodSandbox(id);
  }

  /** undefined when there is no such container. */
  async containerStatus(containerId: string): Promise<ContainerStatus | undefined> {
    try {
      return (await this.call(RuntimeService.method.containerStatus, { containerId })).status;
    } catch (error) {
      if (isServiceError(error, status.NOT_FOUND)) return undefined;
      throw error;
    }
  }

  /** In any state; all pods' without a UID. */
  async listContainers(podUid?: string): Promise<readonly Container[]> {
    const filter = podUid === undefined ? {} : { labelSelector: { 'io.kubernetes.pod.uid': podUid } };
    return (await this.call(RuntimeService.method.listContainers, { filter })).containers;
  }

  async listPodSandboxes(podUid?: string): Promise<readonly PodSandbox[]> {
    const filter = podUid === undefined ? {} : { labelSelector: { 'io.kubernetes.pod.uid': podUid } };
    return (await this.call(RuntimeService.method.listPodSandbox, { filter })).items;
  }

  /** Runs a command in the container to its end. */
  async exec(containerId: string, ...cmd: readonly string[]): Promise<ExecResult> {
    const request = { containerId, cmd: [...cmd], timeout: 10n };
    const { stdout, stderr, exitCode } = await this.call(RuntimeService.method.execSync, request);
    return { stdout: Buffer.from(stdout).toString(), stderr: Buffer.from(stderr).toString(), exitCode };
  }

  /**
   * The container's first process in the host's PID namespace, as containerd tells it in the verbose status.
   * @throws HoldfastError NOT_FOUND when it is not running
   */
  async processId(containerId: string): Promise<number> {
    const { info } = await this.call(RuntimeService.method.containerStatus, { containerId, verbose: true });
    const details: unknown = JSON.parse(info['info'] ?? '{}');
    const pid = typeof details === 'object' && details !== null && 'pid' in details ? details.pid : undefined;
    if (typeof pid === 'number' && pid > 0) return pid;
    throw new HoldfastError('NOT_FOUND', `container ${containerId} has no process; it is not running`);
  }

  close(): void {
    this.#client.close();
  }
}
