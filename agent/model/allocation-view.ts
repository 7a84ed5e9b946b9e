// What is handed out on the host, by NUMA node: what the cpuset feature knows and the topology that schedulers read shows.
import type { CpuSet } from './cpu-set.ts';
import type { Bytes, MilliCpu } from './quantity.ts';

/** What is handed out on one NUMA node. */
export interface NodeAllocation {
  /** May be owned exclusively. */
  readonly allocatableCpus: CpuSet;
  /** Of those, not owned now. */
  readonly freeCpus: CpuSet;
  /** Where shared containers run now; reserved CPUs are among them. */
  readonly sharedCpus: CpuSet;
  /** Memory minus what placed pods were promised. */
  readonly memoryAvailableBytes: Bytes;
  /** By page size: bytes in such pages minus what placed pods were promised. */
  readonly hugepagesAvailable: ReadonlyMap<number, Bytes>;
  /** What shared containers that are bound here request. */
  readonly boundSharedMillis: MilliCpu;
  /** Promises to pods and containers that are bound here and run on the shared CPUs. */
  readonly boundShared: number;
}

/** Who may use what, as the cpuset feature knows it. */
export interface AllocationView {
  /** Kept for the system: never owned exclusively. */
  readonly reservedCpus: CpuSet;
  /** By node number; a node that is not in it has nothing to hand out. */
  readonly nodes: ReadonlyMap<number, NodeAllocation>;
}
