// NUMA nodes from what the kernel says about each. Pure.
import type { RawHost, RawHugepages, RawNode } from '../host/sysfs.ts';
import { CpuSet } from '../model/cpu-set.ts';
import type { HugepagePool, NumaNode } from '../model/host-topology.ts';
import { bytes } from '../model/quantity.ts';
import { parseCount, parseDistances, parseMemTotal, parsePageSize, parseSet, unexpected } from './kernel-text.ts';

export interface AssembledNodes {
  readonly nodes: readonly NumaNode[];
  /** Node of each CPU, offline ones included where the kernel says it. */
  readonly nodeOfCpu: ReadonlyMap<number, number>;
  readonly remarks: readonly string[];
}

/** What ACPI takes where the firmware has no table: 10 for the node itself, 20 for any other. */
const LOCAL_DISTANCE = 10;
const REMOTE_DISTANCE = 20;

function assembleHugepages(pools: readonly RawHugepages[]): readonly HugepagePool[] {
  return pools
    .map(({ path, total, free }) => {
      const pool = {
        pageSizeBytes: parsePageSize(path),
        total: total === undefined ? 0 : parseCount(total),
        free: free === undefined ? 0 : parseCount(free),
      };
      if (free !== undefined && pool.free > pool.total)
        throw unexpected(free, `at most the ${pool.total} pages there are`);
      return pool;
    })
    .sort((a, b) => a.pageSizeBytes - b.pageSizeBytes);
}

function assembleDistances(node: RawNode, all: readonly RawNode[], remarks: string[]): ReadonlyMap<number, number> {
  const values = node.distance === undefined ? [] : parseDistances(node.distance);
  if (values.length !== all.length) {
    // One node needs no table; a copy of a machine may lack it, or have been taken while a node went away.
    if (all.length > 1) {
      remarks.push(`${node.path}/distance has ${values.length} values for ${all.length} nodes: taken as 10 and 20`);
    }
    return new Map(all.map(({ id }) => [id, id === node.id ? LOCAL_DISTANCE : REMOTE_DISTANCE]));
  }
  return new Map(all.map(({ id }, index) => [id, values[index] ?? REMOTE_DISTANCE]));
}

/** A kernel without NUMA: one node 0 with all CPUs and all memory. */
function onlyNode(raw: RawHost, present: CpuSet, online: CpuSet): AssembledNodes {
  const node: NumaNode = {
    id: 0,
    cpus: online,
    memoryBytes: raw.meminfo === undefined ? bytes(0) : parseMemTotal(raw.meminfo),
    hugepages: assembleHugepages(raw.hugepages),
    distances: new Map([[0, LOCAL_DISTANCE]]),
  };
  return {
    nodes: [node],
    nodeOfCpu: new Map([...present].map((cpu) => [cpu, 0])),
    remarks: raw.meminfo === undefined ? ['/proc/meminfo is absent: memory taken as 0'] : [],
  };
}

/**
 * The host's NUMA nodes, sorted by number.
 *
 * A CPU belongs to one node. A node that claims CPUs of an earlier one is left out with its memory, and said so: its
 * files cannot be true, and promising less memory than there is harms nobody (hwloc does the same).
 * @throws HoldfastError HOST_FAILURE naming the file that holds garbage
 */
export function assembleNodes(raw: RawHost, present: CpuSet, online: CpuSet): AssembledNodes {
  if (raw.nodes === undefined) return onlyNode(raw, present, online);
  const remarks: string[] = [];
  const nodes: NumaNode[] = [];
  const nodeOfCpu = new Map<number, number>();
  for (const node of raw.nodes) {
    const cpus = node.cpus === undefined ? CpuSet.EMPTY : parseSet(node.cpus);
    const claimed = cpus.filter((cpu) => nodeOfCpu.has(cpu));
    if (!claimed.isEmpty) {
      remarks.push(`${node.path} claims CPUs ${claimed.toString()} of an earlier node: the node is left out`);
      continue;
    }
    for (const cpu of cpus) nodeOfCpu.set(cpu, node.id);
    if (node.meminfo === undefined) remarks.push(`${node.path}/meminfo is absent: memory taken as 0`);
    nodes.push({
      id: node.id,
      cpus: cpus.intersect(online),
      memoryBytes: node.meminfo === undefined ? bytes(0) : parseMemTotal(node.meminfo),
      hugepages: assembleHugepages(node.hugepages),
      distances: assembleDistances(node, raw.nodes, remarks),
    });
  }
  return { nodes: keepDistancesAmong(nodes), nodeOfCpu, remarks };
}

/** Distances to nodes that were left out would name nodes that nobody knows. */
function keepDistancesAmong(nodes: readonly NumaNode[]): readonly NumaNode[] {
  const known = new Set(nodes.map(({ id }) => id));
  return nodes.map((node) => ({
    ...node,
    distances: new Map([...node.distances].filter(([to]) => known.has(to))),
  }));
}
