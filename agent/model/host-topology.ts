// The host as the planner sees it: plain data, the same whether read from this machine or a copy of another's /sys.
import type { CpuSet } from './cpu-set.ts';
import type { Bytes } from './quantity.ts';

/** One logical CPU. Core, die, socket and l3 are numbers that are unique on the host, not within their parent. */
export interface Cpu {
  readonly id: number;
  readonly core: number;
  readonly die: number;
  readonly socket: number;
  readonly numaNode: number;
  /** The lowest CPU that shares the last-level cache; -1 where the kernel does not say. */
  readonly l3: number;
  readonly online: boolean;
}

export interface HugepagePool {
  readonly pageSizeBytes: Bytes;
  /** Pages. */
  readonly total: number;
  readonly free: number;
}

export interface NumaNode {
  readonly id: number;
  /** Online CPUs; empty on a memory-only node. */
  readonly cpus: CpuSet;
  /** MemTotal of the node; 0 on a node without memory. */
  readonly memoryBytes: Bytes;
  readonly hugepages: readonly HugepagePool[];
  /** Distance to every node by its number, this one included (ACPI SLIT; 10 is local). */
  readonly distances: ReadonlyMap<number, number>;
}

export interface HostTopology {
  /** All CPUs that the kernel calls present, sorted by id; offline ones have core, die, socket and l3 of -1. */
  readonly cpus: readonly Cpu[];
  /** Sorted by id; numbers may have gaps. A kernel without NUMA is one node 0. */
  readonly numaNodes: readonly NumaNode[];
  /** Online CPUs that this process may use and hand out (its own cpuset taken into account). */
  readonly usableCpus: CpuSet;
  /** Taken from the scheduler at boot (isolcpus): never in the shared pool, never handed out. */
  readonly isolatedCpus: CpuSet;
  /** NUMA nodes whose memory this process may hand out. */
  readonly usableMems: CpuSet;
}
