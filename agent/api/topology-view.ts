// What the topology service shows: the host as last read, with what is handed out on it. Both messages of a version are
// made from one state, at the first look at that version, and shared by everybody who looks later.
import { create, equals, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import type { Changes } from '../../lib/changes.ts';
import { HoldfastError } from '../../lib/errors.ts';
import { encodeOnce } from '../../lib/grpc.ts';
import {
  type HostTopology as HostTopologyMessage,
  HostTopologySchema,
  ListAllocationsResponseSchema,
  type PlanPlacementRequestSchema,
  type PlanPlacementResponseSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { DecidePolicy } from '../cpuset/plan-placement.ts';
import type { AllocationView } from '../model/allocation-view.ts';
import type { HostTopology } from '../model/host-topology.ts';
import type { PodReference } from '../model/pod.ts';
import type { Snapshot } from '../published/snapshot.ts';
import { publishTopology, unallocated } from '../topology/publish.ts';

/** The state of one version. */
export interface TopologySnapshot extends Snapshot {
  readonly version: bigint;
}

type PlanPlacement = (
  request: MessageShape<typeof PlanPlacementRequestSchema>,
) => MessageInitShape<typeof PlanPlacementResponseSchema>;

/** The feature that hands out CPUs and memory. Its answers are those of the moment, without a wait in between. */
export interface Placing {
  view(): AllocationView;
  allocations(): MessageInitShape<typeof ListAllocationsResponseSchema>;
  runningPods(): readonly PodReference[];
  planPlacement(
    request: Parameters<PlanPlacement>[0],
    decidePolicy: DecidePolicy | undefined,
  ): ReturnType<PlanPlacement>;
  /**
   * The host has other CPUs or nodes now.
   * @param onMoved - called in the moment in which {@link view} begins to show them, before that is announced
   */
  topologyChanged(topology: HostTopology, onMoved: () => void): Promise<void>;
}

/** Where the topology service's answers come from. Reading changes nothing. */
export interface TopologyView {
  /** The present state. */
  snapshot(): TopologySnapshot;
  readonly planPlacement: PlanPlacement;
}

export interface HostView extends TopologyView {
  /** The host was read again: what callers can see of it is shown and announced, when it has changed. */
  replace(host: HostTopology): Promise<void>;
}

export interface TopologyViewOptions {
  readonly nodeName: string;
  readonly topology: HostTopology;
  /** Undefined where nothing is handed out: the feature is turned off. */
  readonly placing: Placing | undefined;
  readonly changes: Changes;
  /** Which policy a pod would have; absent: what it asks for. */
  readonly decidePolicy?: DecidePolicy;
}

/** What decides on placements and is not shown by itself: the agent's own cpuset, and what the kernel keeps for others. */
function hasSameLimits(one: HostTopology, other: HostTopology): boolean {
  return (
    one.usableCpus.equals(other.usableCpus) &&
    one.usableMems.equals(other.usableMems) &&
    one.isolatedCpus.equals(other.isolatedCpus)
  );
}

export function createTopologyView(options: TopologyViewOptions): HostView {
  const { nodeName, topology, placing, changes, decidePolicy } = options;
  let host = topology;
  let latest: TopologySnapshot | undefined;
  const publish = (of: HostTopology, version: bigint): HostTopologyMessage =>
    publishTopology(of, placing?.view() ?? unallocated(of), { version, nodeName });
  return {
    snapshot: () => {
      const { version } = changes;
      if (latest?.version === version) return latest;
      const allocations = create(ListAllocationsResponseSchema, { ...placing?.allocations(), version });
      latest = {
        version,
        topology: encodeOnce(publish(host, version)),
        allocations: encodeOnce(allocations),
        usableMems: host.usableMems,
        ...(placing && { runningPods: placing.runningPods() }),
      };
      return latest;
    },
    planPlacement: (request) => {
      if (placing !== undefined) return { ...placing.planPlacement(request, decidePolicy), version: changes.version };
      throw new HoldfastError(
        'PRECONDITION',
        'nothing is placed on this node: cpuset.enabled is false in its configuration',
      );
    },
    replace: async (now) => {
      const looksTheSame = equals(HostTopologySchema, publish(host, 0n), publish(now, 0n));
      if (looksTheSame && hasSameLimits(host, now)) return;
      const show = (): void => {
        host = now;
      };
      if (placing !== undefined) await placing.topologyChanged(now, show);
      else {
        show();
        changes.announce();
      }
    },
  };
}
