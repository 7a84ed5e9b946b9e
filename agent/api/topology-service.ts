// The Topology service: read-only, for schedulers and the holdfast command.
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type {
  HostTopologySchema,
  ListAllocationsResponseSchema,
  PlanPlacementRequestSchema,
  PlanPlacementResponseSchema,
  Topology,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { Changes } from './changes.ts';
import type { Handlers } from './handlers.ts';

/** Where the answers come from. None of them changes anything. */
export interface TopologyView {
  /** @param version - goes into the message */
  topology(version: bigint): MessageInitShape<typeof HostTopologySchema>;
  allocations(): MessageInitShape<typeof ListAllocationsResponseSchema>;
  planPlacement(
    request: MessageShape<typeof PlanPlacementRequestSchema>,
  ): MessageInitShape<typeof PlanPlacementResponseSchema>;
}

export function topologyHandlers(view: TopologyView, changes: Changes): Handlers<typeof Topology> {
  return {
    getTopology: async () => view.topology(changes.version),
    watchTopology: async function* (_request, { signal }) {
      for (;;) {
        const { version } = changes;
        yield view.topology(version);
        await changes.after(version, signal);
      }
    },
    listAllocations: async () => ({ ...view.allocations(), version: changes.version }),
    planPlacement: async (request) => ({ ...view.planPlacement(request), version: changes.version }),
  };
}
