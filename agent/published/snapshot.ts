// What everything in this folder is derived from: the two messages that the topology service publishes, of one version.
import type { HostTopology, ListAllocationsResponse } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';

export interface Snapshot {
  readonly host: HostTopology;
  readonly allocations: ListAllocationsResponse;
}
