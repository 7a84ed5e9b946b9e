// From the two messages that an agent publishes to what the planner plans on: the same room as on the node itself. Pure.

import type { NodeShare } from '../../agent/cpuset/holding.ts';
import { type PlanRules, Room } from '../../agent/cpuset/room.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import { HoldfastError } from '../../lib/errors.ts';
import type {
  ListAllocationsResponse,
  HostTopology as Published,
  NumaNode as PublishedNode,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { Machines } from './machines.ts';
import { onAllNodes, readNodeCpus } from './published-cpus.ts';

/** One node of the cluster as its agent last told of it. */
export interface HostState {
  readonly version: bigint;
  /** What is left; only read. */
  readonly room: Room;
  /** UIDs of the pods that the room accounts for. */
  readonly pods: ReadonlySet<string>;
}

/** What was promised on one NUMA node, as one claim: whose it is does not matter to whoever comes next. */
function promised(node: PublishedNode): NodeShare {
  const taken = (total: bigint, available: bigint): number => Number(total > available ? total - available : 0n);
  return {
    node: node.id,
    memory: taken(node.memoryBytes, node.memoryAvailableBytes),
    milli: Number(node.boundSharedMillis),
    shared: node.boundShared > 0,
    hugepages: new Map(
      node.hugepages.map((pool) => [
        Number(pool.pageSizeBytes),
        taken(pool.pageSizeBytes * pool.total, pool.availableBytes),
      ]),
    ),
  };
}

/**
 * The room of a node.
 *
 * Planning in it gives the answer that the node would give, with the same rules: its own reserve of memory is counted
 * in what it publishes as available. Three things are not published and make the answer stricter or change its words
 * only: which CPUs are isolated, CPUs that belong to no NUMA node, and memory that the agent itself may not use.
 *
 * @param rules - strategy and unbound memory as the node's own configuration has them
 * @throws HoldfastError INVALID_REQUEST when the messages are of different versions, or make no sense
 */
export function planHost(
  topology: Published,
  allocations: ListAllocationsResponse,
  machines: Machines,
  rules: Pick<PlanRules, 'strategy' | 'unboundMemory'>,
): HostState {
  if (topology.version !== allocations.version) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `the topology is of version ${topology.version}, the allocations are of version ${allocations.version}`,
    );
  }
  const nodes = readNodeCpus(topology);
  const machine = machines.machineOf(topology, nodes);
  const room = new Room(machine, { ...rules, reservedMemory: 0 });
  room.takeCpus(onAllNodes(nodes, ({ allocatable, free }) => allocatable.minus(free)));
  room.addClaim({ nodes: CpuSet.EMPTY, shares: topology.numaNodes.map(promised), unboundMemory: 0 });
  return { version: topology.version, room, pods: new Set(allocations.pods.map(({ uid }) => uid)) };
}
