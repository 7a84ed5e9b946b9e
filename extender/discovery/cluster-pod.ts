// A pod as the scheduler's side of it matters here: where it is bound, what it asks for, what the scheduler said of it. Pure.
import { z } from 'zod';
import type { ObjectKind } from '../../agent/cluster/api-objects.ts';
import { type ApiPod, readApiPod } from '../../agent/cluster/api-pod.ts';
import { withoutFacts } from '../../agent/cluster/api-pod-view.ts';
import { factsAsText } from '../../agent/cluster/facts-text.ts';
import type { Versioned } from './keyed-view.ts';

export interface ClusterPod extends Versioned {
  readonly pod: ApiPod;
  /** Empty while it is not bound. */
  readonly nodeName: string;
  /** What {@link unschedulableOf} says. */
  readonly unschedulable: string;
}

const part = z.object({
  spec: z.object({ nodeName: z.string().max(253).nullish() }).nullish(),
  status: z
    .object({
      conditions: z
        .array(
          z.object({
            type: z.string(),
            status: z.string(),
            reason: z.string().nullish(),
            message: z.string().nullish(),
            lastProbeTime: z.string().nullish(),
            lastTransitionTime: z.string().nullish(),
          }),
        )
        .nullish(),
    })
    .nullish(),
});

/** Conditions are compared, not shown: the beginning of a message says enough. */
const MAX_CONDITION = 2000;

/**
 * The scheduler's last word that it found no place: its condition as one text, which differs between two attempts that
 * differ. Empty when there is none.
 */
export function unschedulableOf(value: unknown): string {
  const parsed = part.safeParse(value);
  const conditions = parsed.success ? (parsed.data.status?.conditions ?? []) : [];
  const found = conditions.find(({ type, status, reason }) => {
    return type === 'PodScheduled' && status === 'False' && reason === 'Unschedulable';
  });
  if (found === undefined) return '';
  const { lastProbeTime, lastTransitionTime, message } = found;
  return `${lastProbeTime ?? ''} ${lastTransitionTime ?? ''} ${message ?? ''}`.slice(0, MAX_CONDITION);
}

/** @throws HoldfastError INVALID_REQUEST when it is no pod */
export function readClusterPod(value: unknown): ClusterPod {
  const pod = readApiPod(value);
  const parsed = part.safeParse(value);
  const nodeName = parsed.success ? (parsed.data.spec?.nodeName ?? '') : '';
  const { uid: key, resourceVersion } = pod;
  return { key, resourceVersion, pod, nodeName, unschedulable: unschedulableOf(value) };
}

/** Every pod of the cluster: those that are bound, and those that wait for it. */
export const CLUSTER_PODS: ObjectKind<ClusterPod> = {
  path: '/api/v1/pods',
  // What has ended needs no place; most clusters keep many such pods.
  parameters: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
  listKind: 'PodList',
  what: 'pods',
  pageSizes: [500, 100, 20, 4],
  read: readClusterPod,
  weigh: ({ pod }) => factsAsText(pod.facts).length,
  lighten: (item) => ({ ...item, pod: withoutFacts(item.pod) }),
};
