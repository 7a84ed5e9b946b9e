// A pod as the API server sends it, reduced to what is kept of it. Pure.
import { z } from 'zod';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { type PodUid, podUid } from '../model/ids.ts';
import type { PodFacts } from '../model/pod.ts';
import { MIRROR_ANNOTATION, readPod } from './pod-manifest.ts';

/** Annotations that concern us; others may be long (the last applied manifest is one). */
const OUR_ANNOTATION = /(?:^|\.)holdfast\.dev\//;

const MAX_NAME = 253;
const name = z.string().min(1).max(MAX_NAME);

const head = z.object({
  metadata: z.object({
    uid: name,
    namespace: name,
    name,
    resourceVersion: z.string().min(1).max(64),
    deletionTimestamp: z.string().nullish(),
    annotations: z.record(z.string(), z.string()).nullish(),
  }),
  status: z.object({ phase: z.string().nullish() }).nullish(),
});

export interface ApiPod {
  readonly uid: PodUid;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  /** It is the copy of a static pod, which the kubelet and the runtime know by this UID. */
  readonly mirrors?: PodUid;
  readonly deleting: boolean;
  /** Succeeded or Failed. */
  readonly finished: boolean;
  /** Absent when its containers cannot be read; the pod is there all the same. */
  readonly facts?: PodFacts;
  /** Why there are no facts. */
  readonly problem?: string;
}

/**
 * What is kept of a v1 Pod.
 * @throws HoldfastError INVALID_REQUEST when not even name and UID can be read; its message has nothing of the pod in it
 */
export function readApiPod(value: unknown): ApiPod {
  const parsed = head.safeParse(value);
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
    throw new HoldfastError('INVALID_REQUEST', `an object of the API server is not a pod${where && `: ${where}`}`);
  }
  const { metadata, status } = parsed.data;
  const { uid, namespace, resourceVersion } = metadata;
  const annotated = metadata.annotations?.[MIRROR_ANNOTATION];
  // No kubelet writes a longer one.
  const mirrored = annotated !== undefined && annotated.length <= MAX_NAME ? annotated : undefined;
  const pod = {
    uid: podUid(uid),
    namespace,
    name: metadata.name,
    resourceVersion,
    ...(mirrored === undefined ? {} : { mirrors: podUid(mirrored) }),
    deleting: typeof metadata.deletionTimestamp === 'string',
    finished: status?.phase === 'Succeeded' || status?.phase === 'Failed',
  };
  try {
    return { ...pod, facts: slim(readPod(value), mirrored !== undefined) };
  } catch (error) {
    return { ...pod, problem: `pod ${namespace}/${metadata.name}: ${describeError(error).slice(0, 300)}` };
  }
}

/** What happens to a mirror happens to the copy: the static pod lives as long as its manifest. */
function slim(facts: PodFacts, isMirror: boolean): PodFacts {
  const annotations = new Map([...facts.annotations].filter(([key]) => OUR_ANNOTATION.test(key)));
  return { ...facts, annotations, ...(isMirror ? { deleting: false, finished: false } : {}) };
}
