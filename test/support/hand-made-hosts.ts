// Hosts made by hand and at random, for tests of what plans on them.
import fc from 'fast-check';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import type { Cpu, HostTopology, NumaNode } from '../../agent/model/host-topology.ts';
import { bytes } from '../../agent/model/quantity.ts';

export const GIB = 1024 ** 3;

export interface NodeShape {
  /** Number of the node; numbers may have gaps. */
  readonly id: number;
  /** Threads of each core. */
  readonly cores: readonly number[];
  /** Cores below one last-level cache. */
  readonly coresPerL3?: number;
  readonly socket?: number;
  readonly memoryBytes?: number;
  /** Pages of 2 MiB. */
  readonly hugepages?: number;
}

export interface HostShape {
  readonly nodes: readonly NodeShape[];
  readonly isolated?: CpuSet;
  readonly offline?: CpuSet;
  /** Distance between nodes by position; default 10 to itself and 20 to others. */
  readonly distance?: (from: number, to: number) => number;
}

/** CPUs are numbered core by core. Core numbers are those of their first CPU, as the kernel's lists give them. */
export function makeHost({
  nodes,
  isolated = CpuSet.EMPTY,
  offline = CpuSet.EMPTY,
  distance,
}: HostShape): HostTopology {
  const cpus: Cpu[] = [];
  const numaNodes = nodes.map((shape, position): NumaNode => {
    const own: number[] = [];
    let l3 = -1;
    shape.cores.forEach((threads, index) => {
      const core = cpus.length;
      if (index % (shape.coresPerL3 ?? shape.cores.length) === 0) l3 = core;
      for (let thread = 0; thread < threads; thread += 1) {
        const id = cpus.length;
        const socket = shape.socket ?? position;
        const online = !offline.has(id);
        cpus.push(
          online
            ? { id, core, die: socket, socket, numaNode: shape.id, l3, online }
            : { id, core: -1, die: -1, socket: -1, numaNode: shape.id, l3: -1, online },
        );
        if (online) own.push(id);
      }
    });
    return {
      id: shape.id,
      cpus: CpuSet.from(own),
      memoryBytes: bytes(shape.memoryBytes ?? 64 * GIB),
      hugepages:
        shape.hugepages === undefined
          ? []
          : [{ pageSizeBytes: bytes(2 * 1024 ** 2), total: shape.hugepages, free: shape.hugepages }],
      distances: new Map(
        nodes.map((other, index) => [other.id, distance?.(position, index) ?? (index === position ? 10 : 20)]),
      ),
    };
  });
  return {
    cpus,
    numaNodes,
    usableCpus: CpuSet.from(cpus.filter(({ online }) => online).map(({ id }) => id)),
    isolatedCpus: isolated,
    usableMems: CpuSet.from(numaNodes.filter(({ memoryBytes }) => memoryBytes > 0).map(({ id }) => id)),
  };
}

/** `nodes` nodes with `cores` cores of `threads` threads each. */
export function evenHost(nodes: number, cores: number, threads: number, more: Partial<NodeShape> = {}): HostTopology {
  return makeHost({
    nodes: Array.from({ length: nodes }, (_, id) => ({
      id,
      cores: Array.from({ length: cores }, () => threads),
      ...more,
    })),
  });
}

export interface RandomHost {
  readonly topology: HostTopology;
  readonly reserved: CpuSet;
}

const nodeShape = fc.record({
  cores: fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom(1, 2, 4))
        .map(([n, t]) => Array.from({ length: n }, () => t)),
    },
    // Hybrid and damaged: cores of different sizes, as efficiency cores and offline threads make them.
    { weight: 3, arbitrary: fc.array(fc.constantFrom(1, 2, 3, 4), { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constant<number[]>([]) },
  ),
  coresPerL3: fc.integer({ min: 1, max: 4 }),
  memoryGib: fc.constantFrom(0, 1, 4, 16),
  hugepages: fc.constantFrom(0, 8),
  gap: fc.integer({ min: 0, max: 3 }),
});

/** Small hosts of every kind: sparse node numbers, memory-only nodes, SMT 1, 2 and 4, hybrid, isolated and reserved CPUs. */
export const randomHost: fc.Arbitrary<RandomHost> = fc
  .record({
    shapes: fc.array(nodeShape, { minLength: 1, maxLength: 4 }),
    distances: fc.array(fc.integer({ min: 11, max: 40 }), { minLength: 16, maxLength: 16 }),
    reserved: fc.array(fc.nat({ max: 40 }), { maxLength: 3 }),
    isolated: fc.array(fc.nat({ max: 40 }), { maxLength: 2 }),
    offline: fc.array(fc.nat({ max: 40 }), { maxLength: 2 }),
  })
  .map(({ shapes, distances, reserved, isolated, offline }) => {
    let id = -1;
    const nodes = shapes.map((shape): NodeShape => {
      id += 1 + shape.gap;
      const { cores, coresPerL3, memoryGib, hugepages } = shape;
      return { id, cores, coresPerL3, memoryBytes: memoryGib * GIB, hugepages };
    });
    const topology = makeHost({
      nodes,
      isolated: CpuSet.from(isolated),
      offline: CpuSet.from(offline),
      distance: (from, to) => (from === to ? 10 : (distances[from * 4 + to] ?? 20)),
    });
    return { topology, reserved: CpuSet.from(reserved) };
  })
  .filter(({ topology }) => !topology.usableCpus.isEmpty);
