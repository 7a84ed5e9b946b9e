// What a pod or container may use, from the numbers the kubelet puts into CRI and what PodSource knows better.
import type { LinuxContainerResources } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { ContainerSpec, ResourceNeed } from '../model/pod.ts';
import { type Bytes, bytes, type MilliCpu, milliCpu } from '../model/quantity.ts';

/** CPU shares per CPU (kubelet pkg/kubelet/cm/helpers_linux.go, MilliCPUToShares). */
const SHARES_PER_CPU = 1024;
/** What the kubelet sends for a container that requests no CPU. */
const MINIMUM_SHARES = 2;

/**
 * CPU request in thousandths. The kubelet sends `floor(milli × 1024 / 1000)`, so the way back rounds up.
 * @param shares - 0 when not specified
 */
function requestFromShares(shares: bigint): MilliCpu | undefined {
  const value = Number(shares);
  if (value === 0) return undefined;
  return milliCpu(value <= MINIMUM_SHARES ? 0 : Math.ceil((value * 1000) / SHARES_PER_CPU));
}

/** CPU limit in thousandths, from microseconds per period; undefined when there is none. */
function limitFromQuota(quota: bigint, period: bigint): MilliCpu | undefined {
  if (quota <= 0n || period <= 0n) return undefined;
  return milliCpu(Math.round((Number(quota) * 1000) / Number(period)));
}

/** "2MB", "1GB", "64KB": powers of 1024 whatever the letters say (k8s.io/kubernetes, pkg/apis/core/v1/helper). */
function hugepageSize(text: string): number | undefined {
  const match = /^(\d{1,9})([KMG])B$/.exec(text);
  if (match === null) return undefined;
  const exponent = { K: 1, M: 2, G: 3 }[match[2] as 'K' | 'M' | 'G'];
  return Number(match[1]) * 1024 ** exponent;
}

function hugepagesOf(resources: LinuxContainerResources): ReadonlyMap<number, Bytes> {
  const pools = new Map<number, Bytes>();
  for (const { pageSize, limit } of resources.hugepageLimits) {
    const size = hugepageSize(pageSize);
    if (size !== undefined && limit > 0n) pools.set(size, bytes(Number(limit)));
  }
  return pools;
}

/** Leaves out what is undefined: an absent field is not a field that is there and undefined. */
function withoutAbsent(
  need: {
    readonly [Key in keyof Omit<ResourceNeed, 'hugepages'>]: ResourceNeed[Key] | undefined;
  },
): Omit<ResourceNeed, 'hugepages'> {
  return Object.fromEntries(Object.entries(need).filter(([, value]) => value !== undefined));
}

/** The need that CRI's numbers express; the same fields serve containers and sandbox sums. */
export function needFromCri(resources: LinuxContainerResources | undefined): ResourceNeed {
  if (resources === undefined) return { hugepages: new Map() };
  const memory = resources.memoryLimitInBytes > 0n ? bytes(Number(resources.memoryLimitInBytes)) : undefined;
  return {
    ...withoutAbsent({
      cpuRequest: requestFromShares(resources.cpuShares),
      cpuLimit: limitFromQuota(resources.cpuQuota, resources.cpuPeriod),
      memoryRequest: undefined,
      memoryLimit: memory,
    }),
    hugepages: hugepagesOf(resources),
  };
}

/**
 * CRI's numbers with the pod's spec added: requests come from the spec, which is exact; limits come from CRI, which
 * is what the container will really get, and from the spec where CRI has none (the kubelet's CFS quota is off).
 */
export function needOfContainer(
  resources: LinuxContainerResources | undefined,
  spec: ContainerSpec | undefined,
): ResourceNeed {
  const sent = needFromCri(resources);
  if (spec === undefined) return sent;
  return {
    ...withoutAbsent({
      cpuRequest: spec.cpuRequest ?? sent.cpuRequest,
      cpuLimit: sent.cpuLimit ?? spec.cpuLimit,
      memoryRequest: spec.memoryRequest,
      memoryLimit: sent.memoryLimit ?? spec.memoryLimit,
    }),
    hugepages: sent.hugepages.size > 0 ? sent.hugepages : spec.hugepages,
  };
}
