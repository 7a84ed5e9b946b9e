// What one container, or the containers of a pod together, need from the host.
import { HoldfastError } from '../../lib/errors.ts';
import type { ContainerSpec, ResourceNeed } from '../model/pod.ts';
import type { CpusetPolicy, NumaPolicy } from '../model/policy.ts';

/** A container as the planner sees it. */
export interface ContainerAsk {
  readonly name: string;
  readonly kind: ContainerSpec['kind'];
  readonly cpuset: CpusetPolicy;
  readonly numa: NumaPolicy;
  readonly numaScope: 'pod' | 'container';
  readonly need: Need;
}

/** What is to be placed together. */
export interface Need {
  /** Whole CPUs to own. */
  readonly exclusive: number;
  /** Thousandths of a CPU that shared containers request. */
  readonly milli: number;
  /** There are shared containers: they need a pool where they are bound. */
  readonly shared: boolean;
  /** Bytes; undefined when nobody said: then only CPUs are placed. */
  readonly memory: number | undefined;
  /** Bytes by page size. */
  readonly hugepages: ReadonlyMap<number, number>;
}

export const NO_NEED: Need = { exclusive: 0, milli: 0, shared: false, memory: undefined, hugepages: new Map() };

/** The memory that counts: what is requested, else the limit. */
export function memoryOf(need: ResourceNeed): number | undefined {
  return need.memoryRequest ?? need.memoryLimit;
}

/**
 * What a container needs.
 * @throws HoldfastError INVALID_REQUEST when it is to own CPUs and its limit is not a whole number of them, or its
 * request is another number
 */
export function needOf(subject: string, need: ResourceNeed, cpuset: CpusetPolicy): Need {
  const memory = memoryOf(need);
  const { hugepages } = need;
  if (cpuset === 'shared') return { exclusive: 0, milli: need.cpuRequest ?? 0, shared: true, memory, hugepages };
  return { exclusive: exclusiveCpus(subject, need), milli: 0, shared: false, memory, hugepages };
}

function inCpus(milli: number): string {
  return `${milli / 1000}`;
}

function exclusiveCpus(subject: string, { cpuLimit, cpuRequest }: ResourceNeed): number {
  const refuse = (why: string): never => {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `${subject} asks for exclusive CPUs, which are whole CPUs, as many as its CPU limit: ${why}; set limit and request to the same whole number, or set holdfast.dev/cpuset to "shared"`,
    );
  };
  if (cpuLimit === undefined) return refuse('it has no CPU limit');
  if (cpuLimit < 1000 || cpuLimit % 1000 !== 0) return refuse(`its CPU limit is ${inCpus(cpuLimit)}`);
  if (cpuRequest !== undefined && cpuRequest !== cpuLimit) {
    return refuse(`its CPU limit is ${inCpus(cpuLimit)} and its CPU request is ${inCpus(cpuRequest)}`);
  }
  return cpuLimit / 1000;
}

function addHugepages(
  a: ReadonlyMap<number, number>,
  b: ReadonlyMap<number, number>,
  join: (a: number, b: number) => number,
): ReadonlyMap<number, number> {
  const sizes = new Set([...a.keys(), ...b.keys()]);
  return new Map([...sizes].map((size) => [size, join(a.get(size) ?? 0, b.get(size) ?? 0)]));
}

function join(a: Need, b: Need, how: (a: number, b: number) => number): Need {
  return {
    exclusive: how(a.exclusive, b.exclusive),
    milli: how(a.milli, b.milli),
    shared: a.shared || b.shared,
    memory: a.memory === undefined && b.memory === undefined ? undefined : how(a.memory ?? 0, b.memory ?? 0),
    hugepages: addHugepages(a.hugepages, b.hugepages, how),
  };
}

const plus = (a: number, b: number): number => a + b;

/**
 * What containers need together, as Kubernetes counts it: app containers and sidecars add up; init containers run one
 * after the other before the app containers, beside the sidecars.
 */
export function sumNeeds(containers: readonly ContainerAsk[]): Need {
  const sum = (kind: ContainerSpec['kind'], how: (a: number, b: number) => number): Need =>
    containers
      .filter((container) => container.kind === kind)
      .reduce((total, container) => join(total, container.need, how), NO_NEED);
  const apps = sum('app', plus);
  const inits = sum('init', Math.max);
  return join(join(apps, inits, Math.max), sum('sidecar', plus), plus);
}
