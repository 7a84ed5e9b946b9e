// Reads what the kernel says about CPUs, caches and NUMA nodes, as texts with the names of their files. What they mean
// is decided in agent/topology/.
import { HoldfastError } from '../../lib/errors.ts';
import { type HostText, type HostTree, mapBounded } from './host-tree.ts';

/** A set of CPUs or nodes, in the kernel's list format (`0-3,8`) or, from older kernels, as a mask of 32-bit words. */
export interface SetText extends HostText {
  readonly format: 'list' | 'mask';
}

export interface RawCpu {
  readonly id: number;
  /** `cpuN/online`; absent where the CPU cannot be taken offline, and not read where the kernel has a list for all. */
  readonly online: HostText | undefined;
  /** undefined when there is no `topology` directory: the CPU is offline, or the kernel does not say. */
  readonly topology:
    | {
        readonly coreId: HostText | undefined;
        readonly threadSiblings: SetText | undefined;
        readonly packageId: HostText | undefined;
        /** Read only where packageId does not say which package it is. */
        readonly packageSiblings: SetText | undefined;
        readonly dieId: HostText | undefined;
      }
    | undefined;
  /** Who shares the last-level cache; undefined where the kernel shows none above level 1. */
  readonly lastLevelCache: SetText | undefined;
}

export interface RawHugepages {
  /** The directory: `…/hugepages-2048kB`. */
  readonly path: string;
  readonly total: HostText | undefined;
  readonly free: HostText | undefined;
}

export interface RawNode {
  readonly id: number;
  readonly path: string;
  readonly cpus: SetText | undefined;
  readonly meminfo: HostText | undefined;
  readonly distance: HostText | undefined;
  readonly hugepages: readonly RawHugepages[];
}

export interface RawHost {
  readonly present: HostText | undefined;
  readonly online: HostText | undefined;
  readonly isolated: HostText | undefined;
  /** One for each directory `cpuN`, sorted. */
  readonly cpus: readonly RawCpu[];
  /** One for each directory `nodeN`, sorted; undefined when the kernel has no NUMA. */
  readonly nodes: readonly RawNode[] | undefined;
  /** Of the whole host: used where the kernel has no NUMA. */
  readonly meminfo: HostText | undefined;
  readonly hugepages: readonly RawHugepages[];
}

const CPU_DIRECTORY = '/sys/devices/system/cpu';
/** Names of the same set: newer before older kernels', lists before masks. */
const THREAD_SIBLINGS = ['core_cpus_list', 'thread_siblings_list', 'core_cpus', 'thread_siblings'];
const PACKAGE_SIBLINGS = ['package_cpus_list', 'core_siblings_list', 'package_cpus', 'core_siblings'];
const NODE_DIRECTORY = '/sys/devices/system/node';
/** Enough to keep the file system's threads busy; each item reads its files one after the other. */
const AT_ONCE = 16;

/** Where the kernel says which core, die and package a CPU is in. */
export function topologyDirectory(cpu: number): string {
  return `${CPU_DIRECTORY}/cpu${cpu}/topology`;
}

/** The numbers of the entries called `<prefix><number>`, sorted. */
function numbered(names: readonly string[], prefix: string): readonly number[] {
  return names
    .filter((name) => name.startsWith(prefix) && /^\d{1,7}$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
}

/** The first of the given files that exists. */
async function readSet(tree: HostTree, directory: string, names: readonly string[]): Promise<SetText | undefined> {
  for (const name of names) {
    const file = await tree.readText(`${directory}/${name}`);
    if (file !== undefined) return { ...file, format: name.endsWith('list') ? 'list' : 'mask' };
  }
  return undefined;
}

/** The kernel numbers a CPU's caches from the core outwards (drivers/base/cacheinfo.c): the last level comes last. */
async function readLastLevelCache(tree: HostTree, directory: string): Promise<SetText | undefined> {
  const last = numbered((await tree.list(directory)) ?? [], 'index').at(-1);
  if (last === undefined) return undefined;
  const path = `${directory}/index${last}`;
  if ((await tree.readText(`${path}/level`))?.text.trim() === '1') return undefined;
  return readSet(tree, path, ['shared_cpu_list', 'shared_cpu_map']);
}

async function readTopology(tree: HostTree, path: string): Promise<RawCpu['topology']> {
  const coreId = await tree.readText(`${path}/core_id`);
  const threadSiblings = await readSet(tree, path, THREAD_SIBLINGS);
  if (coreId === undefined && threadSiblings === undefined) return undefined;
  const packageId = await tree.readText(`${path}/physical_package_id`);
  const packageKnown = packageId !== undefined && !packageId.text.startsWith('-');
  return {
    coreId,
    threadSiblings,
    packageId,
    packageSiblings: packageKnown ? undefined : await readSet(tree, path, PACKAGE_SIBLINGS),
    dieId: await tree.readText(`${path}/die_id`),
  };
}

async function readCpu(tree: HostTree, id: number, statesKnown: boolean): Promise<RawCpu> {
  const path = `${CPU_DIRECTORY}/cpu${id}`;
  return {
    id,
    online: statesKnown ? undefined : await tree.readText(`${path}/online`),
    topology: await readTopology(tree, topologyDirectory(id)),
    lastLevelCache: await readLastLevelCache(tree, `${path}/cache`),
  };
}

async function readHugepages(tree: HostTree, directory: string): Promise<readonly RawHugepages[]> {
  const sizes = ((await tree.list(directory)) ?? []).filter((name) => name.startsWith('hugepages-'));
  return mapBounded(sizes, AT_ONCE, async (size) => {
    const path = `${directory}/${size}`;
    return {
      path,
      total: await tree.readText(`${path}/nr_hugepages`),
      free: await tree.readText(`${path}/free_hugepages`),
    };
  });
}

async function readNode(tree: HostTree, id: number): Promise<RawNode> {
  const path = `${NODE_DIRECTORY}/node${id}`;
  return {
    id,
    path,
    cpus: await readSet(tree, path, ['cpulist', 'cpumap']),
    meminfo: await tree.readText(`${path}/meminfo`),
    distance: await tree.readText(`${path}/distance`),
    hugepages: await readHugepages(tree, `${path}/hugepages`),
  };
}

/**
 * Reads the kernel's description of the host.
 * @throws HoldfastError PRECONDITION when the tree describes no CPUs, HOST_FAILURE when a file cannot be read
 */
export async function readRawHost(tree: HostTree, signal: AbortSignal): Promise<RawHost> {
  const cpuNumbers = numbered((await tree.list(CPU_DIRECTORY)) ?? [], 'cpu');
  if (cpuNumbers.length === 0) {
    throw new HoldfastError(
      'PRECONDITION',
      `${tree.root} has no CPUs in ${CPU_DIRECTORY.slice(1)}: the root directory must be / or the top folder of a copy of a machine's /sys and /proc`,
    );
  }
  const nodeNumbers = numbered((await tree.list(NODE_DIRECTORY)) ?? [], 'node');
  const online = await tree.readText(`${CPU_DIRECTORY}/online`);
  const cpus = await mapBounded(cpuNumbers, AT_ONCE, (id) => {
    signal.throwIfAborted();
    return readCpu(tree, id, online !== undefined);
  });
  return {
    present: await tree.readText(`${CPU_DIRECTORY}/present`),
    online,
    isolated: await tree.readText(`${CPU_DIRECTORY}/isolated`),
    cpus,
    nodes: nodeNumbers.length === 0 ? undefined : await mapBounded(nodeNumbers, AT_ONCE, (id) => readNode(tree, id)),
    meminfo: await tree.readText('/proc/meminfo'),
    hugepages: await readHugepages(tree, '/sys/kernel/mm/hugepages'),
  };
}
