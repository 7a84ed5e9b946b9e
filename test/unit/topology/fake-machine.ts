// Machines made of the files that a kernel would show for them, without a disk: from a shape to files to a HostTree.

import type { HostTree } from '../../../agent/host/host-tree.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { HoldfastError } from '../../../lib/errors.ts';

export interface FakeCpu {
  readonly id: number;
  readonly socket: number;
  /** Within the socket. */
  readonly die: number;
  /** Within the socket; repeats on others, as core_id does. */
  readonly core: number;
  readonly node: number;
  /** CPUs with the same number share the last-level cache. */
  readonly cache: number;
  readonly online: boolean;
}

export interface FakeMachine {
  readonly cpus: readonly FakeCpu[];
  readonly nodes: readonly { readonly id: number; readonly kilobytes: number }[];
}

const CPU = '/sys/devices/system/cpu';
const NODE = '/sys/devices/system/node';

/** The files of the machine by path, as a present-day kernel shows them. */
export function filesOf({ cpus, nodes }: FakeMachine): Map<string, string> {
  const files = new Map<string, string>();
  const listOf = (keep: (cpu: FakeCpu) => boolean): string =>
    `${CpuSet.from(cpus.filter(keep).map(({ id }) => id)).toString()}\n`;
  files.set(
    `${CPU}/present`,
    listOf(() => true),
  );
  files.set(
    `${CPU}/online`,
    listOf(({ online }) => online),
  );
  files.set(`${CPU}/isolated`, '\n');
  for (const cpu of cpus) {
    const path = `${CPU}/cpu${cpu.id}`;
    files.set(`${path}/online`, cpu.online ? '1\n' : '0\n');
    if (!cpu.online) continue;
    const inCore = (other: FakeCpu): boolean => other.online && other.socket === cpu.socket && other.core === cpu.core;
    files.set(`${path}/topology/core_id`, `${cpu.core}\n`);
    files.set(`${path}/topology/core_cpus_list`, listOf(inCore));
    files.set(`${path}/topology/physical_package_id`, `${cpu.socket}\n`);
    files.set(`${path}/topology/die_id`, `${cpu.die}\n`);
    files.set(`${path}/cache/index0/level`, '1\n');
    files.set(`${path}/cache/index3/level`, '3\n');
    files.set(
      `${path}/cache/index3/shared_cpu_list`,
      listOf((other) => other.online && other.cache === cpu.cache),
    );
  }
  for (const node of nodes) {
    const path = `${NODE}/node${node.id}`;
    files.set(
      `${path}/cpulist`,
      listOf((cpu) => cpu.online && cpu.node === node.id),
    );
    files.set(
      `${path}/meminfo`,
      `Node ${node.id} MemTotal:       ${node.kilobytes} kB\nNode ${node.id} MemFree: 1 kB\n`,
    );
    files.set(`${path}/distance`, `${nodes.map(({ id }) => (id === node.id ? 10 : 21)).join(' ')}\n`);
    files.set(`${path}/hugepages/hugepages-2048kB/nr_hugepages`, '512\n');
    files.set(`${path}/hugepages/hugepages-2048kB/free_hugepages`, '100\n');
  }
  files.set('/proc/meminfo', `MemTotal:       ${nodes.reduce((sum, { kilobytes }) => sum + kilobytes, 0)} kB\n`);
  return files;
}

/** A HostTree over files in memory. */
export function treeOf(files: ReadonlyMap<string, string>, links: ReadonlyMap<string, string> = new Map()): HostTree {
  const namesIn = (path: string): readonly string[] | undefined => {
    const prefix = path === '/' ? '/' : `${path}/`;
    const names = new Set<string>();
    for (const file of [...files.keys(), ...links.keys()]) {
      const name = file.startsWith(prefix) ? file.slice(prefix.length).split('/')[0] : undefined;
      if (name !== undefined) names.add(name);
    }
    return names.size === 0 ? undefined : [...names].sort();
  };
  return {
    root: '/machine',
    readText: async (path, limit) => {
      const text = files.get(path);
      if (text !== undefined && limit !== undefined && text.length > limit.maxBytes && limit.longer !== 'cut') {
        throw new HoldfastError('HOST_FAILURE', `${path} is longer than ${limit.maxBytes} bytes`);
      }
      return text === undefined ? undefined : { path, text: text.replace(/\0+$/, '') };
    },
    list: async (path) => namesIn(path),
    listKinds: async (path) =>
      namesIn(path)?.map((name) => ({ name, kind: files.has(`${path}/${name}`) ? 'other' : 'directory' })),
    readLink: async (path) => links.get(path),
  };
}

/** `sockets` × `nodesPerSocket` × `coresPerNode` × `threads`, siblings numbered as on x86: all first threads first. */
export function regularMachine(
  sockets: number,
  nodesPerSocket: number,
  coresPerNode: number,
  threads: number,
): FakeMachine {
  const coresPerSocket = nodesPerSocket * coresPerNode;
  const cores = sockets * coresPerSocket;
  return {
    cpus: Array.from({ length: cores * threads }, (_, id): FakeCpu => {
      const core = id % cores;
      const node = Math.floor(core / coresPerNode);
      return {
        id,
        socket: Math.floor(core / coresPerSocket),
        die: node % nodesPerSocket,
        core: core % coresPerSocket,
        node,
        cache: node,
        online: true,
      };
    }),
    nodes: Array.from({ length: sockets * nodesPerSocket }, (_, id) => ({ id, kilobytes: 1024 * (id + 1) })),
  };
}
