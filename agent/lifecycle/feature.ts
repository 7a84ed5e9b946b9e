// What a feature is: a set of answers to the lifecycle steps. The pipeline asks every feature in the order of wiring.ts.
import type { PodName } from '../cluster/pod-source.ts';
import type { ContainerId, PodUid, SandboxId } from '../model/ids.ts';
import type { Container, ContainerSpec, Pod, ResourceNeed } from '../model/pod.ts';
import type { ContainerPolicy } from '../model/policy.ts';
import type { Contribution } from './adjustment.ts';

export interface SandboxCreating {
  readonly pod: Pod;
  readonly signal: AbortSignal;
}

export interface ContainerCreating {
  readonly pod: Pod;
  readonly sandboxId: SandboxId;
  readonly name: string;
  readonly attempt: number;
  readonly policy: ContainerPolicy;
  /** From the CRI request, with what PodSource knows added. */
  readonly need: ResourceNeed;
  /** Absent when PodSource does not know the pod: it then counts as an app container. */
  readonly spec?: ContainerSpec;
  readonly image: string;
  readonly signal: AbortSignal;
}

export interface ContainerCreated extends ContainerCreating {
  readonly containerId: ContainerId;
}

export interface ContainerStep {
  readonly pod: Pod;
  readonly container: Container;
  readonly signal: AbortSignal;
}

export interface ContainerUpdating extends ContainerStep {
  /** What the kubelet asks for; an undefined field is left unchanged. */
  readonly need: ResourceNeed;
  /** As in the request: the kubelet's static CPU manager sends its own. */
  readonly requestedCpus?: string;
}

export interface SandboxStep {
  readonly sandboxId: SandboxId;
  /** Absent when the sandbox's pod could not be told (not made by a kubelet). */
  readonly pod?: Pod;
  /** Containers still in the sandbox. */
  readonly containers: readonly Container[];
  readonly signal: AbortSignal;
}

/** Why a pod's holdings end; goes to the log and the metrics. */
export type HoldingsEnd = 'deleted' | 'finished' | 'no-sandbox';

export interface StatusLine {
  readonly subject: string;
  readonly level: 'ok' | 'warning' | 'failed';
  readonly text: string;
}

/**
 * A feature answers the steps it has something to say about. Throwing a HoldfastError in a step that may refuse
 * refuses the CRI call with that error. Steps of one container never overlap; those of different containers do.
 */
export interface Feature {
  readonly name: string;

  /** Rebuilds the feature's view from store, runtime and kernel, and completes or undoes what the journal holds. */
  recover?(signal: AbortSignal): Promise<void>;

  /** Before RunPodSandbox. May refuse. */
  sandboxCreating?(step: SandboxCreating): Promise<Contribution>;
  /** Before CreateContainer. May refuse. May be called again for a container whose creation failed later. */
  containerCreating?(step: ContainerCreating): Promise<Contribution>;
  /** After CreateContainer, before StartContainer. May refuse: then `containerAbandoned` follows. */
  containerCreated?(step: ContainerCreated): Promise<void>;
  /** The container was created but will not be used and is about to be removed: take back what `containerCreated` did. */
  containerAbandoned?(step: ContainerStep): Promise<void>;
  /** After StartContainer. Errors are logged, never passed on: the process may already be gone. */
  containerStarted?(step: ContainerStep): Promise<void>;
  /** Before UpdateContainerResources. May refuse. */
  containerUpdating?(step: ContainerUpdating): Promise<Contribution>;
  /** Before StopContainer. May refuse. */
  containerStopping?(step: ContainerStep): Promise<void>;
  /** Before StopPodSandbox. May refuse. */
  sandboxStopping?(step: SandboxStep): Promise<void>;
  /** Before RemoveContainer, and before RemovePodSandbox for each container still in it. The container is not running. */
  containerRemoving?(step: ContainerStep): Promise<void>;
  /** Before RemovePodSandbox. */
  sandboxRemoving?(step: SandboxStep): Promise<void>;
  /** Pods for which the feature holds something, whether or not the runtime still knows a sandbox of theirs. */
  pods?(): readonly PodName[];
  /** The pod's holdings end. Called once; called again after a failure. */
  podGone?(uid: PodUid, why: HoldingsEnd, signal: AbortSignal): Promise<void>;

  /** Finds and repairs what changed behind our back; on a schedule. */
  reconcile?(signal: AbortSignal): Promise<void>;
  /** Lines for `holdfast status`. */
  status?(): readonly StatusLine[];
}
