// The machines of these tests: CPUs, NUMA nodes and memory as data, and what QEMU and the kernel have to be told.

export interface NumaNodeShape {
  /** In the kernel's list format; empty for a node with nothing but memory. */
  readonly cpus: string;
  readonly memoryMiB: number;
}

export interface MachineShape {
  /** Part of a folder's name in the cache. */
  readonly name: string;
  readonly sockets: number;
  /** Of each socket. */
  readonly cores: number;
  /** Of each core; 2 is SMT. */
  readonly threads: number;
  readonly nodes: readonly NumaNodeShape[];
  /** From each node (row) to each node, as in the firmware's SLIT: 10 is the node itself. */
  readonly distances: readonly (readonly number[])[];
  /** CPUs that the kernel brings up, where it leaves some offline; it takes the first. */
  readonly onlineCpus?: number;
}

const NEAR = [
  [10, 21],
  [21, 10],
];

/** Two sockets with two CPUs and a memory node each. */
export const TWO_NODES: MachineShape = {
  name: 'two-nodes',
  sockets: 2,
  cores: 2,
  threads: 1,
  nodes: [
    { cpus: '0-1', memoryMiB: 1024 },
    { cpus: '2-3', memoryMiB: 1024 },
  ],
  distances: NEAR,
};

/** Two sockets that show two memory nodes each, nearer to each other than to those of the other socket. */
export const FOUR_NODES: MachineShape = {
  name: 'four-nodes',
  sockets: 2,
  cores: 2,
  threads: 1,
  nodes: ['0', '1', '2', '3'].map((cpus) => ({ cpus, memoryMiB: 512 })),
  distances: [
    [10, 12, 21, 21],
    [12, 10, 21, 21],
    [21, 21, 10, 12],
    [21, 21, 12, 10],
  ],
};

/** One socket, two cores with two threads each. */
export const SMT: MachineShape = {
  name: 'smt',
  sockets: 1,
  cores: 2,
  threads: 2,
  nodes: [{ cpus: '0-3', memoryMiB: 2048 }],
  distances: [[10]],
};

/** Two sockets with memory nodes and CPUs, and a memory expander without CPUs. */
export const MEMORY_ONLY_NODE: MachineShape = {
  name: 'memory-only-node',
  sockets: 2,
  cores: 1,
  threads: 1,
  nodes: [
    { cpus: '0', memoryMiB: 768 },
    { cpus: '1', memoryMiB: 768 },
    { cpus: '', memoryMiB: 512 },
  ],
  distances: [
    [10, 21, 30],
    [21, 10, 30],
    [30, 30, 10],
  ],
};

/** As {@link TWO_NODES}, with the last CPU offline. */
export const ONE_CPU_OFFLINE: MachineShape = { ...TWO_NODES, name: 'one-cpu-offline', onlineCpus: 3 };

/** What of a shape goes onto QEMU's command line. */
export function shapeArguments({ sockets, cores, threads, nodes, distances }: MachineShape): readonly string[] {
  const memory = nodes.reduce((sum, { memoryMiB }) => sum + memoryMiB, 0);
  const nodeArguments = nodes.flatMap(({ cpus, memoryMiB }, id) => [
    '-object',
    `memory-backend-ram,id=memory${id},size=${memoryMiB}M`,
    '-numa',
    `node,nodeid=${id}${cpus === '' ? '' : `,cpus=${cpus}`},memdev=memory${id}`,
  ]);
  const distanceArguments = distances.flatMap((row, from) =>
    row.flatMap((value, to) => (from === to ? [] : ['-numa', `dist,src=${from},dst=${to},val=${value}`])),
  );
  return [
    '-smp',
    `${sockets * cores * threads},sockets=${sockets},cores=${cores},threads=${threads}`,
    '-m',
    `${memory}M`,
    ...nodeArguments,
    ...distanceArguments,
  ];
}

/** What of a shape the kernel does by itself. */
export function shapeKernelArguments({ onlineCpus }: MachineShape): readonly string[] {
  return onlineCpus === undefined ? [] : [`maxcpus=${onlineCpus}`];
}
