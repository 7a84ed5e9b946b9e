// Which containers are to have every CPU again when Holdfast leaves, so that nobody stays squeezed by rules that nobody
// looks after any more. Pure.
import type { PodHolding } from '../cpuset/holding.ts';
import type { CpuSet } from '../model/cpu-set.ts';

/** A running container of a kubelet, with what its cgroup and its annotations say. */
export interface ConfinedContainer {
  readonly id: string;
  /** `namespace/pod/container`, for people. */
  readonly title: string;
  /** As its cgroup has them; empty: the parent's. */
  readonly cpus: CpuSet;
  readonly mems: CpuSet;
  /** Holdfast bound it to memory nodes. */
  readonly hasBoundMemory: boolean;
  /** How many CPUs it owns; 0 when it owns none. Its limit is the same number. */
  readonly ownedCpus: number;
}

export interface Release {
  readonly id: string;
  readonly title: string;
  readonly cpus: CpuSet;
  readonly mems: CpuSet | undefined;
  /** Microseconds per 100 ms; undefined: it stays as it is. */
  readonly quota: number | undefined;
}

const QUOTA_OF_ONE_CPU = 100_000;

/** CPUs that the container of that name owns, by what its pod held at its creation. */
export function ownedCpusOf(holding: PodHolding | undefined, name: string): number {
  const container = holding?.containers.get(name);
  return container?.cpuset === 'exclusive' ? container.cpus.size : 0;
}

/**
 * @param cpus - online CPUs of the host
 * @param mems - its memory nodes
 */
export function planRelease(containers: readonly ConfinedContainer[], cpus: CpuSet, mems: CpuSet): readonly Release[] {
  return containers.flatMap((container): readonly Release[] => {
    const hasAllCpus = container.cpus.isEmpty || cpus.minus(container.cpus).isEmpty;
    const hasAllMems = !container.hasBoundMemory || container.mems.isEmpty || mems.minus(container.mems).isEmpty;
    if (hasAllCpus && hasAllMems && container.ownedCpus === 0) return [];
    return [
      {
        id: container.id,
        title: container.title,
        cpus,
        mems: hasAllMems ? undefined : mems,
        // While it owned its CPUs its quota was lifted; with all CPUs its limit has to hold again.
        quota: container.ownedCpus === 0 ? undefined : container.ownedCpus * QUOTA_OF_ONE_CPU,
      },
    ];
  });
}

/**
 * The quota of a pod's own cgroup, as the kubelet makes it: the sum of its containers'.
 * @param quotas - microseconds per 100 ms; undefined for a container that is gone
 * @returns undefined when a container has no limit: the pod has none then
 */
export function planPodQuota(quotas: readonly (number | 'none' | undefined)[]): number | undefined {
  let sum = 0;
  for (const quota of quotas) {
    if (quota === 'none') return undefined;
    sum += quota ?? 0;
  }
  return sum === 0 ? undefined : sum;
}
