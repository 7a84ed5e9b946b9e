// What a pod asks of Holdfast, after annotations and namespace defaults have been put together.

export type RestartPolicy = 'rebuild' | 'reuse';
export type CpusetPolicy = 'shared' | 'exclusive';
export type NumaPolicy = 'none' | 'preferred' | 'required';

/** The policy of one container. */
export interface ContainerPolicy {
  readonly restart: RestartPolicy;
  readonly cpuset: CpusetPolicy;
  readonly numa: NumaPolicy;
  /** `pod`: CPUs and memory of the whole pod from the same place; `container`: of this container only. */
  readonly numaScope: 'pod' | 'container';
}

/** The policy of a pod and of those of its containers that have annotations of their own. */
export interface PodPolicy extends ContainerPolicy {
  readonly containers: ReadonlyMap<string, ContainerPolicy>;
}

export const DEFAULT_POLICY: ContainerPolicy = {
  restart: 'rebuild',
  cpuset: 'shared',
  numa: 'none',
  numaScope: 'pod',
};

/** The policy of the container called `name`. */
export function policyOf(pod: PodPolicy, name: string): ContainerPolicy {
  return pod.containers.get(name) ?? pod;
}

/** Whether losing the agent during creation or removal could cost the container its data, CPUs or place. */
export function isProtected(policy: ContainerPolicy): boolean {
  return policy.restart === 'reuse' || policy.cpuset === 'exclusive' || policy.numa === 'required';
}
