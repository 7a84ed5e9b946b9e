// The host as arrays: what the planner walks over. Built once per topology, read-only afterwards.
import { CpuSet } from '../model/cpu-set.ts';
import type { Cpu, HostTopology, NumaNode } from '../model/host-topology.ts';

/** A physical core, by positions in {@link Machine.cpuIds}. */
export interface Core {
  /** Threads that may be owned exclusively, ascending. */
  readonly cpus: readonly number[];
  /** Online threads, those included that nobody may own (reserved, isolated, outside the agent's own cpuset). */
  readonly threads: number;
  readonly l3: number;
  readonly die: number;
  readonly socket: number;
  readonly node: number;
}

/** Cores that are near each other, divided into nearer ones: node, then socket, die and last-level cache. */
export interface Domain {
  /** Positions in {@link Machine.cores}, ascending. */
  readonly cores: readonly number[];
  /** Empty at the lowest level. */
  readonly parts: readonly Domain[];
}

/** One NUMA node, by its position in {@link Machine.nodes}. */
export interface MachineNode {
  readonly id: number;
  readonly domain: Domain;
  /** Positions of CPUs that may be owned exclusively. */
  readonly allocatable: readonly number[];
  /** CPUs that shared containers may use while nobody owns them; reserved ones are among them. */
  readonly poolSize: number;
  /** Bytes. */
  readonly memoryBytes: number;
  /** May its memory be handed out. */
  readonly hasMemory: boolean;
  readonly hasCpus: boolean;
  /** Bytes by page size. */
  readonly hugepages: ReadonlyMap<number, number>;
  /** To every node by position; both directions added, so that the order does not matter. */
  readonly distances: readonly number[];
}

export interface Machine {
  readonly topology: HostTopology;
  /** Numbers of the online CPUs that the agent may use, ascending. */
  readonly cpuIds: Int32Array;
  readonly positions: ReadonlyMap<number, number>;
  /** By CPU position: the position of its node; -1 when no node claims it. */
  readonly nodeOf: Int32Array;
  /** By CPU position: 1 when a container may own it. */
  readonly allocatable: Uint8Array;
  /** By CPU position: 1 when it belongs to the shared pool while nobody owns it. */
  readonly pooled: Uint8Array;
  readonly cores: readonly Core[];
  /** By CPU position: the position of its core; -1 when nobody may own it. */
  readonly coreOf: Int32Array;
  readonly nodes: readonly MachineNode[];
  readonly nodePositions: ReadonlyMap<number, number>;
  /** CPUs that shared containers may use while nobody owns them. */
  readonly poolSize: number;
  /** Of all nodes whose memory may be handed out. */
  readonly memoryBytes: number;
  /** No node says how much memory it has: memory is then not counted. */
  readonly memoryUnknown: boolean;
  readonly reservedCpus: CpuSet;
}

/** Beyond the local node where the firmware says nothing (ACPI: 10 is local, 20 the usual remote distance). */
const UNKNOWN_DISTANCE = 20;

/** By key, each group in the order of the items. */
function grouped<Item>(items: readonly Item[], key: (item: Item) => number): ReadonlyMap<number, readonly Item[]> {
  const groups = new Map<number, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** The groups by ascending key. */
function groupBy<Item>(items: readonly Item[], key: (item: Item) => number): readonly (readonly Item[])[] {
  return [...grouped(items, key)].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** Divides cores by the first of `levels` that divides them at all; levels with a single part are left out. */
function divide(
  cores: readonly Core[],
  members: readonly number[],
  levels: readonly ('socket' | 'die' | 'l3')[],
): Domain {
  const [level, ...lower] = levels;
  if (level === undefined) return { cores: members, parts: [] };
  const parts = groupBy(members, (member) => cores[member]?.[level] ?? -1);
  if (parts.length <= 1) return divide(cores, members, lower);
  return { cores: members, parts: parts.map((part) => divide(cores, part, lower)) };
}

function distancesOf(node: NumaNode, all: readonly NumaNode[]): readonly number[] {
  return all.map((other) => {
    if (other.id === node.id) return 0;
    const there = node.distances.get(other.id) ?? UNKNOWN_DISTANCE;
    return there + (other.distances.get(node.id) ?? UNKNOWN_DISTANCE);
  });
}

/**
 * @param reservedCpus - never owned, but part of the shared pool; numbers that the host does not have are passed over
 */
export function buildMachine(topology: HostTopology, reservedCpus: CpuSet): Machine {
  const nodePositions = new Map(topology.numaNodes.map((node, position) => [node.id, position]));
  const online = topology.cpus.filter((cpu) => cpu.online);
  const usable = online.filter((cpu) => topology.usableCpus.has(cpu.id));
  // A CPU that no node claims runs shared containers only.
  const isAllocatable = (cpu: Cpu): boolean =>
    nodePositions.has(cpu.numaNode) && !reservedCpus.has(cpu.id) && !topology.isolatedCpus.has(cpu.id);
  // A host whose every CPU is isolated still has to run its containers somewhere.
  const allIsolated = usable.every((cpu) => topology.isolatedCpus.has(cpu.id));
  const isPooled = (cpu: Cpu): boolean => allIsolated || !topology.isolatedCpus.has(cpu.id);

  const positions = new Map(usable.map((cpu, position) => [cpu.id, position]));
  const cores = groupBy(online, (cpu) => cpu.core).flatMap((threads): readonly Core[] => {
    const [first] = threads;
    const cpus = threads
      .filter(isAllocatable)
      .map((cpu) => positions.get(cpu.id))
      .filter((position) => position !== undefined);
    const node = first && nodePositions.get(first.numaNode);
    if (first === undefined || node === undefined || cpus.length === 0) return [];
    return [{ cpus, threads: threads.length, l3: first.l3, die: first.die, socket: first.socket, node }];
  });
  const coreOf = new Int32Array(usable.length).fill(-1);
  cores.forEach((core, index) => {
    for (const cpu of core.cpus) coreOf[cpu] = index;
  });
  const memoryUnknown = topology.numaNodes.every((node) => node.memoryBytes === 0);

  // Looked up instead of searched for each node: a host may have a thousand of them, and eight times as many CPUs.
  const cpusOn = grouped(usable, ({ numaNode }) => numaNode);
  const coresOn = grouped([...cores.keys()], (index) => cores[index]?.node ?? -1);
  const nodes = topology.numaNodes.map((node, position): MachineNode => {
    const here = cpusOn.get(node.id) ?? [];
    const members = coresOn.get(position) ?? [];
    return {
      id: node.id,
      domain: divide(cores, members, ['socket', 'die', 'l3']),
      allocatable: members.flatMap((member) => cores[member]?.cpus ?? []),
      poolSize: here.filter(isPooled).length,
      memoryBytes: node.memoryBytes,
      hasMemory: topology.usableMems.has(node.id) && (memoryUnknown || node.memoryBytes > 0),
      hasCpus: here.length > 0,
      hugepages: new Map(node.hugepages.map((pool) => [pool.pageSizeBytes, pool.total * pool.pageSizeBytes])),
      distances: distancesOf(node, topology.numaNodes),
    };
  });

  const pooled = Uint8Array.from(usable, (cpu) => (isPooled(cpu) ? 1 : 0));
  return {
    topology,
    cpuIds: Int32Array.from(usable, (cpu) => cpu.id),
    positions,
    nodeOf: Int32Array.from(usable, (cpu) => nodePositions.get(cpu.numaNode) ?? -1),
    allocatable: Uint8Array.from(usable, (cpu) => (isAllocatable(cpu) ? 1 : 0)),
    pooled,
    poolSize: pooled.reduce((sum, each) => sum + each, 0),
    memoryBytes: nodes.reduce((sum, node) => sum + (node.hasMemory ? node.memoryBytes : 0), 0),
    cores,
    coreOf,
    nodes,
    nodePositions,
    memoryUnknown,
    reservedCpus: reservedCpus.filter((cpu) => positions.has(cpu)),
  };
}

/** The CPUs whose position the predicate accepts, by their numbers. */
export function cpusWhere(machine: Machine, accept: (position: number) => boolean): CpuSet {
  const numbers: number[] = [];
  for (let position = 0; position < machine.cpuIds.length; position += 1) {
    if (accept(position)) numbers.push(machine.cpuIds[position] ?? -1);
  }
  return CpuSet.from(numbers);
}
