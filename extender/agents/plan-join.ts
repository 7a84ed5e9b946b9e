// Joins the two messages of an agent: the topology comes as a stream, the allocations are asked for, and only those of
// one version tell one story. Pure.
import type { HostTopology, ListAllocationsResponse } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';

export interface Published {
  readonly topology: HostTopology;
  readonly allocations: ListAllocationsResponse;
}

/**
 * `joined`: both are of one version. `ask`: allocations of the topology's version are missing. `wait`: the allocations
 * are newer, so a newer topology is on its way. `behind`: the allocations are of an older state than was shown already;
 * asked again, they are newer.
 */
export type JoinStep = 'joined' | 'ask' | 'wait' | 'behind';

/**
 * @param allocations - the last that were asked for on this connection; undefined before the first
 * @param isFresh - they were asked for after the topology had come
 */
export function planJoin(
  topology: HostTopology,
  allocations: ListAllocationsResponse | undefined,
  isFresh: boolean,
): JoinStep {
  if (allocations === undefined) return 'ask';
  if (allocations.version === topology.version) return 'joined';
  if (allocations.version > topology.version) return 'wait';
  return isFresh ? 'behind' : 'ask';
}
