// From a pod as the lifecycle steps see it to what the planner is asked. Pure.
import type { ContainerSpec, Pod, ResourceNeed } from '../model/pod.ts';
import { type ContainerPolicy, policyOf } from '../model/policy.ts';
import { type ContainerAsk, type Need, needOf } from './plan-need.ts';
import type { PodNeed } from './plan-pod.ts';

/** @throws HoldfastError INVALID_REQUEST when it is to own CPUs and its CPU limit is not a whole number of them */
export function askOf(
  name: string,
  kind: ContainerSpec['kind'],
  policy: ContainerPolicy,
  need: ResourceNeed,
): ContainerAsk {
  const { cpuset, numa, numaScope } = policy;
  return { name, kind, cpuset, numa, numaScope, need: needOf(`container ${name}`, need, cpuset) };
}

/**
 * The sums say what the pod needs only when all its containers are treated alike; and those of a pod that owns CPUs
 * only when they are whole CPUs.
 */
function needFromSums({ policy, sandboxResources }: Pod): Need | undefined {
  const { cpuRequest, cpuLimit, memoryLimit, hugepages } = sandboxResources;
  const alike = [...policy.containers.values()].every(
    (own) => own.cpuset === policy.cpuset && own.numa === policy.numa && own.numaScope === 'pod',
  );
  if (!alike || (cpuRequest === undefined && cpuLimit === undefined && memoryLimit === undefined)) return undefined;
  if (policy.cpuset === 'shared') {
    return { exclusive: 0, milli: cpuRequest ?? 0, shared: true, memory: memoryLimit, hugepages };
  }
  if (cpuLimit === undefined || cpuLimit < 1000 || cpuLimit % 1000 !== 0) return undefined;
  return { exclusive: cpuLimit / 1000, milli: 0, shared: false, memory: memoryLimit, hugepages };
}

/**
 * What is known of a pod before its first container.
 * @throws HoldfastError INVALID_REQUEST as {@link askOf}
 */
export function podNeedOf(pod: Pod): PodNeed {
  if (pod.facts !== undefined && pod.facts.containers.length > 0) {
    const containers = pod.facts.containers.map((spec) =>
      askOf(spec.name, spec.kind, policyOf(pod.policy, spec.name), spec),
    );
    return { basis: 'spec', containers };
  }
  const need = needFromSums(pod);
  return need === undefined ? { basis: 'containers' } : { basis: 'sums', need };
}
