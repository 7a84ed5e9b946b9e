// The machine's shape as the agent found it in /sys.
import { create } from '@bufbuild/protobuf';
import { askAgent } from '../../../agent/cli/ask-agent.ts';
import {
  GetTopologyRequestSchema,
  type HostTopology,
  Topology,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { VmNode } from './node.ts';

async function readTopology({ topologySocket }: VmNode): Promise<HostTopology> {
  return await askAgent(topologySocket, Topology.method.getTopology, create(GetTopologyRequestSchema));
}

export interface NodeFacts {
  readonly id: number;
  readonly cpus: string;
  /** To each node, itself included. */
  readonly distances: readonly number[];
}

export async function readNodes(node: VmNode): Promise<readonly NodeFacts[]> {
  return (await readTopology(node)).numaNodes.map(({ id, cpus, distances }) => ({
    id,
    cpus,
    distances: distances.toSorted((a, b) => a.node - b.node).map(({ value }) => value),
  }));
}

export interface CpuFacts {
  readonly id: number;
  readonly core: number;
  readonly socket: number;
  readonly online: boolean;
}

export async function readCpus(node: VmNode): Promise<readonly CpuFacts[]> {
  return (await readTopology(node)).cpus.map(({ id, core, socket, online }) => ({ id, core, socket, online }));
}
