// What CRI does not say about pods: init containers, memory requests, deletion. One interface for the API server, a
// file and the static-pod manifests.
import type { PodUid } from '../model/ids.ts';
import type { PodFacts } from '../model/pod.ts';

/** How a pod is named on both sides: the UID for pods of the API, namespace and name for static ones. */
export interface PodName {
  readonly uid: PodUid;
  readonly namespace: string;
  readonly name: string;
}

/** What the source says about a pod's life; `unknown` when it cannot tell, and then nothing may depend on it. */
export type PodPhase = 'present' | 'deleting' | 'finished' | 'deleted' | 'unknown';

export interface PodSource {
  /** For logs and `holdfast status`: which source, how old, what is wrong with it. */
  status(): { readonly name: string; readonly ageMs: number; readonly problem?: string };
  /** undefined when the source does not know the pod. */
  find(pod: PodName): PodFacts | undefined;
  phaseOf(pod: PodName): PodPhase;
  /** Its `deleted` is what it saw happen to this very UID; other sources conclude it from a pod that is missing. */
  readonly seesDeletions?: boolean;
  /** Called after each change; returns the function that ends it. */
  onChange(listener: () => void): () => void;
  close(): void;
}
