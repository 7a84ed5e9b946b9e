// A node for the tests of this folder: a private containerd, the reuse feature, and a kubelet that asks the feature at
// each step as the shim does.

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { CriClient, type RunningPod } from '../../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import { containerConfig, type PodDescription, sandboxConfig } from '../../../agent/cli/quickstart/pod-requests.ts';
import type { PrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import type { ContainerCreating, ContainerStep } from '../../../agent/lifecycle/feature.ts';
import { type ContainerId, containerId, podUid, sandboxId } from '../../../agent/model/ids.ts';
import type { ContainerSpec, ContainerState, Pod } from '../../../agent/model/pod.ts';
import { DEFAULT_POLICY, type RestartPolicy } from '../../../agent/model/policy.ts';
import { POLICY_ANNOTATION, stampContainerPolicy } from '../../../agent/model/policy-stamp.ts';
import { createReuse, type Reuse, type ReuseParts } from '../../../agent/reuse/feature.ts';
import { openRuntime } from '../../../agent/runtime/containerd.ts';
import type { ContainerRuntime } from '../../../agent/runtime/runtime.ts';
import type { Store } from '../../../agent/state/store.ts';
import type { Failpoint } from '../../../lib/failpoint.ts';
import { RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';

export interface CreateOptions {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly restart?: RestartPolicy;
  readonly kind?: ContainerSpec['kind'];
}

export interface NodeOptions {
  readonly failpoint?: Failpoint;
  readonly options?: Partial<ReuseParts['options']>;
  readonly now?: () => number;
}

const NEVER = new AbortController().signal;
export const SLEEP = ['/bin/sh', '-c', "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"];

/** The feature on a containerd, as an agent would have it; a new one on the same store is an agent started again. */
export async function openFeature(
  runtime: ContainerRuntime,
  store: Store,
  { failpoint, options, now = Date.now }: NodeOptions = {},
): Promise<Reuse> {
  return createReuse({
    runtime,
    store,
    podSource: { find: () => undefined },
    tree: await openHostTree('/'),
    logger: pino({ level: process.env['HOLDFAST_TEST_LOG'] ?? 'silent' }),
    registry: new Registry(),
    now,
    options: {
      budgetBytes: 1024 ** 3,
      maxAgeMs: 3_600_000,
      fastFailures: { limit: 0, withinMs: 10_000 },
      measureIntervalMs: 0,
      ...options,
    },
    ...(failpoint === undefined ? {} : { failpoint }),
  });
}

export class TestNode {
  readonly cri: CriClient;
  readonly runtime: ContainerRuntime;
  readonly #containerd: PrivateContainerd;
  #store: Store;
  feature: Reuse;

  private constructor(containerd: PrivateContainerd, runtime: ContainerRuntime, store: Store, feature: Reuse) {
    this.#containerd = containerd;
    this.runtime = runtime;
    this.#store = store;
    this.feature = feature;
    const { socketPath, directory, cgroupParent } = containerd;
    this.cri = new CriClient({ socketPath, directory, cgroupParent });
  }

  static async open(containerd: PrivateContainerd, store: Store, options: NodeOptions = {}): Promise<TestNode> {
    const runtime = openRuntime({ endpoint: containerd.socketPath, logger: pino({ level: 'silent' }) });
    const feature = await openFeature(runtime, store, options);
    await feature.recover?.(NEVER);
    return new TestNode(containerd, runtime, store, feature);
  }

  /** The agent starts again, on the same store or another. */
  async restartAgent(options: NodeOptions = {}, store: Store = this.#store): Promise<void> {
    this.#store = store;
    this.feature = await openFeature(this.runtime, store, options);
    await this.feature.recover?.(NEVER);
  }

  close(): void {
    this.cri.close();
    this.runtime.close();
  }

  podOf({ uid, namespace, name }: PodDescription, restart: RestartPolicy = 'reuse'): Pod {
    return {
      uid: podUid(uid),
      namespace,
      name,
      labels: new Map(),
      annotations: new Map(),
      policy: { ...DEFAULT_POLICY, restart, containers: new Map() },
      cgroupParent: '',
      sandboxResources: { hugepages: new Map() },
    };
  }

  creating(running: RunningPod, name: string, attempt: number, options: CreateOptions = {}): ContainerCreating {
    const { restart = 'reuse', image = APP_IMAGE, kind } = options;
    return {
      pod: this.podOf(running, restart),
      sandboxId: sandboxId(running.sandboxId),
      name,
      attempt,
      policy: { ...DEFAULT_POLICY, restart },
      need: { hugepages: new Map() },
      ...(kind === undefined ? {} : { spec: { name, kind, hugepages: new Map() } }),
      image,
      signal: NEVER,
    };
  }

  step(running: RunningPod, name: string, id: ContainerId, state: ContainerState): ContainerStep {
    const { pod, sandboxId: sandbox, policy } = this.creating(running, name, 0);
    return {
      pod,
      container: { id, sandboxId: sandbox, podUid: pod.uid, name, attempt: 0, policy, state },
      signal: NEVER,
    };
  }

  /** CreateContainer at the runtime alone, with the stamp that the shim adds. */
  async createAtRuntime(
    running: RunningPod,
    name: string,
    attempt: number,
    options: CreateOptions = {},
  ): Promise<ContainerId> {
    const { image = APP_IMAGE, command = SLEEP, restart = 'reuse' } = options;
    const { directory, cgroupParent } = this.#containerd;
    const paths = { root: join(directory, 'kubelet'), logs: join(directory, 'pod-logs'), cgroupParent };
    const config = containerConfig(running, { name, image, command }, attempt, paths, 1024 ** 3);
    config.mounts = [];
    config.logPath = `${name}-${attempt}.log`;
    if (restart === 'reuse')
      config.annotations[POLICY_ANNOTATION] = stampContainerPolicy({ ...DEFAULT_POLICY, restart });
    const response = await this.cri.call(RuntimeService.method.createContainer, {
      podSandboxId: running.sandboxId,
      config,
      sandboxConfig: sandboxConfig(running, running.sandboxAttempt, paths),
    });
    return containerId(response.containerId);
  }

  /** CreateContainer through the feature; what it refuses is abandoned and removed, as the shim does. */
  async create(running: RunningPod, name: string, attempt: number, options: CreateOptions = {}): Promise<ContainerId> {
    const creating = this.creating(running, name, attempt, options);
    await this.feature.containerCreating?.(creating);
    const id = await this.createAtRuntime(running, name, attempt, options);
    try {
      await this.feature.containerCreated?.({ ...creating, containerId: id });
    } catch (error) {
      await this.abandon(running, name, id);
      throw error;
    }
    return id;
  }

  async abandon(running: RunningPod, name: string, id: ContainerId): Promise<void> {
    await this.feature.containerAbandoned?.(this.step(running, name, id, 'created'));
    await this.cri.removeContainer(id);
  }

  async start(running: RunningPod, name: string, id: ContainerId): Promise<void> {
    await this.cri.startContainer(id);
    await this.feature.containerStarted?.(this.step(running, name, id, 'running'));
  }

  async run(running: RunningPod, name: string, attempt: number, options: CreateOptions = {}): Promise<ContainerId> {
    const id = await this.create(running, name, attempt, options);
    await this.start(running, name, id);
    return id;
  }

  /** RemoveContainer through the feature. */
  async remove(running: RunningPod, name: string, id: ContainerId, state: ContainerState = 'exited'): Promise<void> {
    await this.feature.containerRemoving?.(this.step(running, name, id, state));
    await this.cri.removeContainer(id);
  }

  /** StopPodSandbox and RemovePodSandbox, with its containers still in it. */
  async removeSandbox(running: RunningPod): Promise<void> {
    await this.cri.stopPodSandbox(running.sandboxId);
    for (const { id, metadata, podSandboxId } of await this.cri.listContainers(running.uid)) {
      if (podSandboxId !== running.sandboxId) continue;
      await this.feature.containerRemoving?.(this.step(running, metadata?.name ?? '', containerId(id), 'exited'));
    }
    await this.cri.removePodSandbox(running.sandboxId);
  }

  async shell(id: ContainerId, script: string): Promise<string> {
    const { stdout, stderr, exitCode } = await this.cri.exec(id, '/bin/sh', '-c', script);
    if (exitCode !== 0) throw new Error(`"${script}" ended with ${exitCode}: ${stderr}`);
    return stdout;
  }

  async stop(id: ContainerId): Promise<void> {
    await this.cri.stopContainer(id, 0);
  }

  /** Waits until a container that ends by itself has ended. */
  async ended(id: ContainerId): Promise<void> {
    for (;;) {
      const status = await this.runtime.containerStatus(id, NEVER);
      if (status === undefined || status.state === 'exited') return;
      await delay(20);
    }
  }

  /** One round of upkeep, with what was dropped removed when it returns. */
  async reconcile(): Promise<void> {
    await this.feature.reconcile?.(NEVER);
    await this.feature.measure(NEVER);
  }

  layers(
    running: PodDescription,
  ): readonly { readonly state: string; readonly holder: string; readonly handovers: number }[] {
    return this.feature.admin
      .list()
      .layers.filter(({ podUid: uid }) => uid === running.uid)
      .map(({ state, holderContainerId: holder, handovers }) => ({ state, holder, handovers }));
  }

  /** Names of all snapshots that leases of ours keep. */
  async leases(): Promise<readonly string[]> {
    await this.runtime.version(NEVER);
    const leases = await this.runtime.layers?.listLeases('holdfast.dev/pod-uid', NEVER);
    return (leases ?? []).map(({ labels }) => labels['holdfast.dev/snapshot'] ?? '');
  }
}

let count = 0;

/** A pod with one container, `app`. */
export function somePod(container = 'app'): PodDescription {
  count += 1;
  const serial = `${process.pid}-${count}`;
  return {
    name: `pod-${serial}`,
    namespace: 'default',
    uid: `uid-${serial}`,
    containers: [{ name: container, image: APP_IMAGE }],
  };
}
