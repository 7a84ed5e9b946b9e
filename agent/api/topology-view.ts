// The topology service's answers: the host as last read, with what is handed out on it.
import { equals } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import { HostTopologySchema } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { AllocationView } from '../model/allocation-view.ts';
import type { HostTopology } from '../model/host-topology.ts';
import { publishTopology, unallocated } from '../topology/publish.ts';
import type { TopologyView } from './topology-service.ts';

/** The feature that hands out CPUs and memory. */
export interface Placing extends Pick<TopologyView, 'allocations' | 'planPlacement'> {
  view(): AllocationView;
}

export interface HostView extends TopologyView {
  /**
   * The host was read again.
   * @returns whether anything that callers can see has changed
   */
  replace(host: HostTopology): boolean;
}

/** @param placing - undefined where nothing is handed out: the feature is turned off */
export function createTopologyView(nodeName: string, first: HostTopology, placing: Placing | undefined): HostView {
  let host = first;
  const publish = (of: HostTopology, version: bigint) =>
    publishTopology(of, placing?.view() ?? unallocated(of), { version, nodeName });
  return {
    topology: (version) => publish(host, version),
    allocations: () => placing?.allocations() ?? {},
    planPlacement: (request) => {
      if (placing !== undefined) return placing.planPlacement(request);
      throw new HoldfastError(
        'PRECONDITION',
        'nothing is placed on this node: cpuset.enabled is false in its configuration',
      );
    },
    replace: (now) => {
      const changed = !equals(HostTopologySchema, publish(host, 0n), publish(now, 0n));
      host = now;
      return changed;
    },
  };
}
