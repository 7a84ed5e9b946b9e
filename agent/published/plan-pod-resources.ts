// What the podresources API says: CPUs and memory as Holdfast assigned them, devices as the kubelet did. Pure.
import { clone, create, type MessageInitShape } from '@bufbuild/protobuf';
import type {
  ContainerAllocation,
  ListAllocationsResponse,
  NodeShare,
  PodAllocation,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import {
  type AllocatableResourcesResponse,
  AllocatableResourcesResponseSchema,
  type ContainerMemorySchema,
  type ContainerResources,
  ContainerResourcesSchema,
  type ListPodResourcesResponse,
  ListPodResourcesResponseSchema,
  type PodResources,
  PodResourcesSchema,
} from '../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { planPromisable } from './plan-promisable.ts';
import { hugepagesName } from './resource-names.ts';
import type { Snapshot } from './snapshot.ts';

type MemoryBlock = MessageInitShape<typeof ContainerMemorySchema>;

const MEMORY = 'memory';

function block(memoryType: string, size: bigint, node: number): MemoryBlock {
  return { memoryType, size, topology: { nodes: [{ ID: BigInt(node) }] } };
}

/** One block per kind of memory and NUMA node, as the kubelet's memory manager has them. */
function blocksOf({ node, memoryBytes, hugepages }: NodeShare): readonly MemoryBlock[] {
  return [
    ...(memoryBytes > 0n ? [block(MEMORY, memoryBytes, node)] : []),
    ...hugepages.map(({ pageSizeBytes, bytes }) => block(hugepagesName(pageSizeBytes), bytes, node)),
  ];
}

function numbersOf(list: string): bigint[] {
  return [...CpuSet.parse(list)].map(BigInt);
}

/**
 * Memory is promised to the pod as a whole, and this API knows only containers: the first that is bound to the node
 * has it, so that the sum over the pod is right.
 */
function carrierOf(node: number, named: readonly ContainerResources[], pod: PodAllocation): string | undefined {
  const bound = pod.containers.filter(({ mems }) => CpuSet.parse(mems).has(node)).map(({ name }) => name);
  return (named.find(({ name }) => bound.includes(name)) ?? named[0])?.name;
}

/** The kubelet's container, or a new one, with our CPUs in it and no memory. */
function containerWith(base: ContainerResources, own: ContainerAllocation | undefined): ContainerResources {
  const container = clone(ContainerResourcesSchema, base);
  container.cpuIds = own?.cpuset === 'exclusive' ? numbersOf(own.cpus) : [];
  container.memory = [];
  return container;
}

/**
 * The containers that are shown: the kubelet's, and those that it does not name (init containers) while they own CPUs
 * that would else be nobody's.
 */
function basesOf(pod: PodAllocation, theirs: PodResources | undefined): readonly ContainerResources[] {
  const bare = (name: string): ContainerResources => create(ContainerResourcesSchema, { name });
  if (theirs === undefined) return pod.containers.map(({ name }) => bare(name));
  const named = new Set(theirs.containers.map(({ name }) => name));
  let told = pod.containers.filter(({ name }) => named.has(name)).reduce(withOwned, CpuSet.EMPTY);
  const added = pod.containers.filter((container) => {
    const before = told;
    told = withOwned(told, container);
    return !told.equals(before);
  });
  return [...theirs.containers, ...added.map(({ name }) => bare(name))];
}

function withOwned(cpus: CpuSet, { cpuset, cpus: own }: ContainerAllocation): CpuSet {
  return cpuset === 'exclusive' ? cpus.union(CpuSet.parse(own)) : cpus;
}

/** @param theirs - what the kubelet says of the pod */
function planPod(pod: PodAllocation, theirs: PodResources | undefined): PodResources {
  const bases = basesOf(pod, theirs);
  const own = new Map(pod.containers.map((each) => [each.name, each]));
  const containers = bases.map((base) => containerWith(base, own.get(base.name)));
  for (const share of pod.nodeShares) {
    const carrier = containers.find(({ name }) => name === carrierOf(share.node, containers, pod));
    const made = create(ContainerResourcesSchema, { memory: [...blocksOf(share)] });
    carrier?.memory.push(...made.memory);
  }
  const { namespace, name } = pod;
  const planned =
    theirs === undefined ? create(PodResourcesSchema, { namespace, name }) : clone(PodResourcesSchema, theirs);
  planned.containers = containers;
  return planned;
}

/** A pod that we know nothing of was assigned nothing, whatever the kubelet's own managers think. */
function withoutOurs(theirs: PodResources): PodResources {
  const pod = clone(PodResourcesSchema, theirs);
  pod.containers = theirs.containers.map((container) => containerWith(container, undefined));
  return pod;
}

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;

/**
 * Every pod that holds something or has a container here, and those that only the kubelet knows.
 * @param kubelet - its own answer; undefined when it gave none
 */
export function planPodResources(
  { pods }: ListAllocationsResponse,
  kubelet: ListPodResourcesResponse | undefined,
): ListPodResourcesResponse {
  const theirs = new Map(kubelet?.podResources.map((pod) => [keyOf(pod), pod]));
  // A pod that is made anew has the name of one that is not gone yet: what the kubelet says is about the later one.
  const latest = new Map(pods.map((pod) => [keyOf(pod), pod]));
  const answer =
    kubelet === undefined ? create(ListPodResourcesResponseSchema) : clone(ListPodResourcesResponseSchema, kubelet);
  answer.podResources = [
    ...pods.map((pod) => planPod(pod, latest.get(keyOf(pod)) === pod ? theirs.get(keyOf(pod)) : undefined)),
    ...[...theirs].filter(([key]) => !latest.has(key)).map(([, pod]) => withoutOurs(pod)),
  ];
  return answer;
}

/**
 * What pods can be assigned at all.
 * @param reservedMemoryBytes - per NUMA node, kept from pods
 * @param kubelet - its own answer, for the devices; undefined when it gave none
 */
export function planAllocatableResources(
  { topology: { numaNodes }, usableMems }: Snapshot,
  reservedMemoryBytes: bigint,
  kubelet: AllocatableResourcesResponse | undefined,
): AllocatableResourcesResponse {
  const answer =
    kubelet === undefined
      ? create(AllocatableResourcesResponseSchema)
      : clone(AllocatableResourcesResponseSchema, kubelet);
  const allocatable = numaNodes.reduce((all, node) => all.union(CpuSet.parse(node.allocatableCpus)), CpuSet.EMPTY);
  const blocks = numaNodes.flatMap((node): readonly MemoryBlock[] => {
    const { memory, hugepages } = planPromisable(node, usableMems, reservedMemoryBytes);
    return [
      ...(memory > 0n ? [block(MEMORY, memory, node.id)] : []),
      ...hugepages
        .filter(({ bytes }) => bytes > 0n)
        .map(({ pageSizeBytes, bytes }) => block(hugepagesName(pageSizeBytes), bytes, node.id)),
    ];
  });
  answer.cpuIds = [...allocatable].map(BigInt);
  answer.memory = create(AllocatableResourcesResponseSchema, { memory: [...blocks] }).memory;
  return answer;
}
