// The machine as the agent shows it over gRPC, and whether others see the same: hwloc the hardware, the kernel the
// containers.
import { create } from '@bufbuild/protobuf';
import type { Test } from 'tap';
import { askAgent } from '../../../agent/cli/ask-agent.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import {
  type Cpu,
  GetTopologyRequestSchema,
  type HostTopology,
  ListAllocationsRequestSchema,
  Topology,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { type HwlocObject, parseHwlocXml } from '../../integration/topology/hwloc.ts';
import { confinementOf, settles } from './facts.ts';
import type { VmNode } from './node.ts';

export async function readTopology({ topologySocket }: VmNode): Promise<HostTopology> {
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

/** The groups that a number of ours makes of the CPUs: what they are called is ours to choose. */
function groupsBy(cpus: readonly Cpu[], field: 'core' | 'socket'): readonly string[] {
  const groups = new Map<number, number[]>();
  for (const cpu of cpus) groups.set(cpu[field], [...(groups.get(cpu[field]) ?? []), cpu.id]);
  return [...groups.values()].map((ids) => CpuSet.from(ids).toString()).toSorted();
}

function groupsOf(objects: readonly HwlocObject[], type: string): readonly string[] {
  const groups = objects.filter((object) => object.type === type);
  return groups.map(({ cpus }) => cpus.toString()).toSorted();
}

/** What GetTopology says of the hardware is what hwloc's lstopo says in the machine. */
export async function assertSameAsLstopo(t: Test, node: VmNode): Promise<void> {
  const objects = parseHwlocXml(await node.machine.run('lstopo-no-graphics --disallowed --of xml'));
  const { cpus, numaNodes } = await readTopology(node);
  t.strictSame(groupsBy(cpus, 'core'), groupsOf(objects, 'Core'), 'cores as lstopo shows them');
  t.strictSame(groupsBy(cpus, 'socket'), groupsOf(objects, 'Package'), 'sockets as lstopo shows them');
  const seen = objects.filter(({ type }) => type === 'NUMANode');
  t.strictSame(
    numaNodes.map(({ id, memoryBytes }) => [id, Number(memoryBytes)]),
    seen.map(({ osIndex, localMemory }) => [osIndex, localMemory]).toSorted(([a = 0], [b = 0]) => a - b),
    'memory nodes as lstopo shows them',
  );
  // A node without CPUs is given those of its neighbours there.
  const withCpus = numaNodes.filter((each) => each.cpus !== '');
  t.strictSame(
    withCpus.map((each) => each.cpus),
    withCpus.map(({ id }) => seen.find(({ osIndex }) => osIndex === id)?.cpus.toString()),
    'and their CPUs',
  );
}

/** What ListAllocations says of the containers is where the kernel lets them run. */
export async function assertAllocationsAreObserved(t: Test, node: VmNode, ids: readonly string[]): Promise<void> {
  const containers = (await node.direct.listContainers()).filter(({ id }) => ids.includes(id));
  await settles(t, 'ListAllocations says of each container what the kernel says', [], async () => {
    const { pods } = await askAgent(
      node.topologySocket,
      Topology.method.listAllocations,
      create(ListAllocationsRequestSchema),
    );
    const differing: unknown[] = [];
    for (const { id, labels } of containers) {
      const pod = pods.find(({ uid }) => uid === labels['io.kubernetes.pod.uid']);
      const told = pod?.containers.find(({ name }) => name === labels['io.kubernetes.container.name']);
      const observed = await confinementOf(node, id);
      const isSame = told?.cpus === observed.cpus && (told.mems === '' || told.mems === observed.mems);
      if (!isSame) differing.push({ told, observed });
    }
    return differing;
  });
}
