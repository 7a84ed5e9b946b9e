// A pod and a container as the lifecycle steps see them: what CRI said, put together with what PodSource knows.
import type { ContainerId, PodUid, SandboxId } from './ids.ts';
import type { ContainerPolicy, PodPolicy } from './policy.ts';
import type { Bytes, MilliCpu } from './quantity.ts';

/** What a container may use; a field is undefined where nobody said. */
export interface ResourceNeed {
  readonly cpuRequest?: MilliCpu;
  readonly cpuLimit?: MilliCpu;
  readonly memoryRequest?: Bytes;
  readonly memoryLimit?: Bytes;
  /** Bytes by page size in bytes. */
  readonly hugepages: ReadonlyMap<number, Bytes>;
}

/** A container of the pod's spec, from PodSource. */
export interface ContainerSpec extends ResourceNeed {
  readonly name: string;
  /** `init`: runs to its end before the app containers; `sidecar`: an init container that keeps running. */
  readonly kind: 'app' | 'init' | 'sidecar';
}

/** What PodSource knows of a pod. */
export interface PodFacts {
  readonly uid: PodUid;
  readonly namespace: string;
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  readonly containers: readonly ContainerSpec[];
  /** deletionTimestamp is set: the platform wants it gone. */
  readonly deleting: boolean;
  /** Succeeded or Failed: nothing of it will run again. */
  readonly finished: boolean;
  /** The kubelet has it from a manifest of its own; the API shows a copy at best. */
  readonly isStatic?: boolean;
  /** Kind of its controller, such as `ReplicaSet`; absent when it has none. */
  readonly controllerKind?: string;
}

/** What people and schedulers call a pod; not its own for ever, as its UID is. */
export type PodReference = Pick<PodFacts, 'namespace' | 'name'>;

export interface Pod {
  readonly uid: PodUid;
  readonly namespace: string;
  readonly name: string;
  /** From the sandbox's config, the kubelet's own among them. */
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  readonly policy: PodPolicy;
  /** From the sandbox's config; empty when the kubelet gave none. */
  readonly cgroupParent: string;
  /** The sums in the sandbox's config (newer kubelets). */
  readonly sandboxResources: ResourceNeed;
  /** Absent when PodSource does not know the pod (yet). */
  readonly facts?: PodFacts;
}

export type ContainerState = 'created' | 'running' | 'exited' | 'unknown';

export interface Container {
  readonly id: ContainerId;
  readonly sandboxId: SandboxId;
  readonly podUid: PodUid;
  readonly name: string;
  readonly attempt: number;
  readonly policy: ContainerPolicy;
  readonly state: ContainerState;
}
