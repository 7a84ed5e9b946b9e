// A node's books as its agent publishes them, without the agent: for tests of what plans on the two messages.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Ledger } from '../../agent/cpuset/ledger.ts';
import { allocationView, listAllocations } from '../../agent/cpuset/view.ts';
import type { PolicyRules } from '../../agent/lifecycle/plan-policy.ts';
import { publishTopology } from '../../agent/topology/publish.ts';
import {
  type HostTopology,
  HostTopologySchema,
  type ListAllocationsResponse,
  ListAllocationsResponseSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';

/** What a configuration without a word about policies says. */
export const NO_POLICY_RULES: PolicyRules = { onDenied: 'refuse', defaults: {}, turnedOff: [], namespaces: new Map() };

export interface PublishedHost {
  readonly topology: HostTopology;
  readonly allocations: ListAllocationsResponse;
}

/** Both messages, after a way over the wire. */
export function publish(ledger: Ledger, version = 1n, nodeName = 'node'): PublishedHost {
  const topology = publishTopology(ledger.machine.topology, allocationView(ledger), { version, nodeName });
  const allocations = create(ListAllocationsResponseSchema, { ...listAllocations(ledger, []), version });
  return {
    topology: fromBinary(HostTopologySchema, toBinary(HostTopologySchema, topology)),
    allocations: fromBinary(ListAllocationsResponseSchema, toBinary(ListAllocationsResponseSchema, allocations)),
  };
}
