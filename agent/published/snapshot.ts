// What everything in this folder is derived from: the two messages that the topology service publishes, of one version, and
// what they do not say.
import type { HostTopology, ListAllocationsResponse } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { PodReference } from '../model/pod.ts';

/** Nobody may change the messages: they are shared by all who look at this version. */
export interface Snapshot {
  readonly topology: HostTopology;
  readonly allocations: ListAllocationsResponse;
  /** NUMA nodes whose memory may be handed out. Absent: all. */
  readonly usableMems?: CpuSet;
  /**
   * The pods of which an app container was ever started, in the API of phase Running: one that waits for its image has a
   * place and is not among them. Absent where nobody told: every pod of the allocations then counts.
   */
  readonly runningPods?: readonly PodReference[];
}
