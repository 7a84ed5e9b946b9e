// The container runtime as the agent uses it. Only this folder speaks CRI (as a client) and containerd's own API.
import type { CpuSet } from '../model/cpu-set.ts';
import type { ContainerId, PodUid, SandboxId } from '../model/ids.ts';
import type { ContainerState } from '../model/pod.ts';
import type { Bytes } from '../model/quantity.ts';

export interface RuntimeSandbox {
  readonly id: SandboxId;
  readonly podUid: PodUid;
  readonly podNamespace: string;
  readonly podName: string;
  readonly attempt: number;
  readonly ready: boolean;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuntimeContainer {
  readonly id: ContainerId;
  readonly sandboxId: SandboxId;
  /** From the label io.kubernetes.pod.uid; the empty string when it was not made by a kubelet. */
  readonly podUid: PodUid;
  readonly podNamespace: string;
  readonly podName: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: ContainerState;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuntimeContainerStatus extends RuntimeContainer {
  /** Milliseconds since the epoch; 0 when it has not happened. */
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
}

export interface ContainerRuntime {
  /** Name and version as the runtime gives them, for logs and `holdfast status`. */
  version(signal: AbortSignal): Promise<{ readonly name: string; readonly version: string }>;
  /** Sandboxes in any state. */
  listSandboxes(signal: AbortSignal): Promise<readonly RuntimeSandbox[]>;
  /**
   * Containers in any state.
   * @param podUid - only those of this pod; the runtime filters, so that the answer is small
   */
  listContainers(signal: AbortSignal, podUid?: PodUid): Promise<readonly RuntimeContainer[]>;
  /** undefined when there is no such sandbox. */
  sandboxStatus(id: SandboxId, signal: AbortSignal): Promise<RuntimeSandbox | undefined>;
  /** undefined when there is no such container. */
  containerStatus(id: ContainerId, signal: AbortSignal): Promise<RuntimeContainerStatus | undefined>;
  /** The process that the container's task runs in the host's PID namespace; undefined unless it is running. */
  processId(id: ContainerId, signal: AbortSignal): Promise<number | undefined>;
  /** Process IDs of all running containers in one call. */
  processIds(signal: AbortSignal): Promise<ReadonlyMap<ContainerId, number>>;
  /** Succeeds when the container is already stopped or gone. */
  stopContainer(id: ContainerId, graceSeconds: number, signal: AbortSignal): Promise<void>;
  /** Succeeds when the container is already gone. */
  removeContainer(id: ContainerId, signal: AbortSignal): Promise<void>;
  /** Tells the runtime (and through it runc and systemd) the CPUs and memory nodes; undefined mems stay as they are. */
  updateCpuset(id: ContainerId, cpus: CpuSet, mems: CpuSet | undefined, signal: AbortSignal): Promise<void>;
  /**
   * Writable layers, where the runtime lets us at them. Undefined too until the runtime has answered once: ask
   * `version()` before concluding that it has none.
   */
  readonly layers: LayerStore | undefined;
  /** The OCI runtime spec of a container, where the runtime lets us at it. */
  readonly specs: SpecStore | undefined;
  close(): void;
}

/** Reads and edits the OCI runtime spec of a container between its creation and its start. */
export interface SpecStore {
  /** @param edit - returns the spec to store, or undefined to leave it; resolves to whether it was changed */
  edit(id: ContainerId, edit: (spec: OciSpec) => OciSpec | undefined, signal: AbortSignal): Promise<boolean>;
}

/** The parts of the OCI runtime spec that we know; everything else passes through untouched. */
export interface OciSpec {
  readonly linux?: {
    readonly cgroupsPath?: string;
    readonly resources?: {
      readonly cpu?: { readonly cpus?: string; readonly mems?: string; readonly quota?: number };
    };
  };
  readonly [key: string]: unknown;
}

/** A writable layer: an active snapshot of one snapshotter. */
export interface SnapshotRef {
  readonly snapshotter: string;
  readonly key: string;
}

export interface Lease {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

export interface LayerStore {
  /** The snapshot that the container's metadata names; undefined when the container is gone or its key was cleared. */
  snapshotOf(id: ContainerId, signal: AbortSignal): Promise<SnapshotRef | undefined>;
  /** The chain of image layers below; undefined when there is no such snapshot. */
  parentOf(ref: SnapshotRef, signal: AbortSignal): Promise<string | undefined>;
  /** Absolute host path of the overlay upperdir; undefined when the snapshotter mounts something else. */
  upperdirOf(ref: SnapshotRef, signal: AbortSignal): Promise<string | undefined>;
  usageOf(ref: SnapshotRef, signal: AbortSignal): Promise<{ readonly size: Bytes; readonly inodes: number }>;
  /** Succeeds when it is already gone. */
  removeSnapshot(ref: SnapshotRef, signal: AbortSignal): Promise<void>;
  /** Makes the container forget its snapshot, so that removing the container leaves it alone. */
  detachSnapshot(id: ContainerId, signal: AbortSignal): Promise<void>;
  /** Keeps the snapshot from garbage collection. Succeeds when that lease holds it already. */
  createLease(
    id: string,
    ref: SnapshotRef,
    labels: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Succeeds when it is already gone. */
  deleteLease(id: string, signal: AbortSignal): Promise<void>;
  /** Leases that have the label. */
  listLeases(label: string, signal: AbortSignal): Promise<readonly Lease[]>;
}
