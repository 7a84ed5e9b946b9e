// The podresources service: what the kubelet would say if it were the kubelet that assigned CPUs and memory.
import { HoldfastError } from '../../lib/errors.ts';
import type {
  AllocatableResourcesResponse,
  ListPodResourcesResponse,
  PodResourcesLister,
} from '../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import type { KubeletPodResources } from '../cluster/kubelet-pod-resources.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import { planAllocatableResources, planPodResources } from '../published/plan-pod-resources.ts';
import type { Snapshot } from '../published/snapshot.ts';
import type { Handlers } from './handlers.ts';

export interface PodResourcesOptions {
  /** Undefined where Holdfast places nothing: the kubelet's own answers then go through as they are. */
  readonly snapshot: (() => Snapshot) | undefined;
  /** Undefined where the kubelet is not to be asked. */
  readonly kubelet: KubeletPodResources | undefined;
  /** Bytes of every NUMA node that no pod is promised. */
  readonly reservedMemory: number;
}

const MOST_QUOTED = 253;

export function podResourcesHandlers(options: PodResourcesOptions): Handlers<typeof PodResourcesLister> {
  const { snapshot, kubelet, reservedMemory } = options;
  // Snapshots are read after the wait for the kubelet: what changed meanwhile is in them.
  const list = async (): Promise<ListPodResourcesResponse> => {
    const theirs = await kubelet?.list();
    return snapshot === undefined ? required(theirs, kubelet) : planPodResources(snapshot().allocations, theirs);
  };
  const allocatable = async (): Promise<AllocatableResourcesResponse> => {
    const theirs = await kubelet?.allocatable();
    return snapshot === undefined
      ? required(theirs, kubelet)
      : planAllocatableResources(snapshot(), BigInt(reservedMemory), theirs);
  };
  return {
    list,
    getAllocatableResources: allocatable,
    get: async ({ podName, podNamespace }) => {
      // Of two pods of one name the later one comes last.
      const { podResources } = await list();
      const pod = podResources.findLast(({ name, namespace }) => name === podName && namespace === podNamespace);
      if (pod !== undefined) return { podResources: pod };
      const named = `${podNamespace.slice(0, MOST_QUOTED)}/${podName.slice(0, MOST_QUOTED)}`;
      throw new HoldfastError('NOT_FOUND', `there is no pod ${named} on this node`);
    },
  };
}

/**
 * The kubelet's answer, where it is the only one: an empty answer in its place would look as if every pod were gone.
 * @throws HoldfastError UNAVAILABLE when it gave none, PRECONDITION when it is not to be asked
 */
function required<Answer>(theirs: Answer | undefined, kubelet: KubeletPodResources | undefined): Answer {
  if (theirs !== undefined) return theirs;
  const nothing = 'cpuset.enabled is false, so Holdfast assigns nothing';
  if (kubelet === undefined) {
    throw new HoldfastError('PRECONDITION', `${nothing}, and podResources.kubelet is off: there is nobody to ask`);
  }
  const why = kubelet.problem() ?? 'no answer';
  throw new HoldfastError('UNAVAILABLE', `${nothing}, and the kubelet does not answer on ${kubelet.socket}: ${why}`);
}

/** The service's own line of `holdfast status`. */
export function podResourcesLine(kubelet: KubeletPodResources | undefined): StatusLine {
  const subject = 'pod resources';
  if (kubelet === undefined)
    return { subject, level: 'ok', text: 'CPUs and memory; the kubelet is not asked for devices' };
  const problem = kubelet.problem();
  if (problem === undefined) return { subject, level: 'ok', text: `CPUs and memory; devices from ${kubelet.socket}` };
  return {
    subject,
    level: 'warning',
    text: `devices are missing, the kubelet does not answer on ${kubelet.socket}: ${problem}`,
  };
}
