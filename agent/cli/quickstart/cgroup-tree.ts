// The cgroups of one private containerd: made as the kubelet makes those of pods, removed with all that runs in them.
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { isErrno } from '../../../lib/errors.ts';
import { pollUntil } from './poll.ts';
import { signalProcess } from './process.ts';

const REMOVAL_TIMEOUT_MS = 10_000;

export interface CgroupHierarchy {
  readonly mountPoint: string;
  /** v1: the controllers of this hierarchy; v2: empty. */
  readonly controllers: readonly string[];
  readonly version: 1 | 2;
}

/** Limits of a pod's own cgroup; a field is undefined where it has none. */
export interface PodCgroupLimits {
  readonly cpuShares: number;
  /** Microseconds per 100 ms. */
  readonly cpuQuota?: number;
  readonly memoryBytes?: number;
}

/** The hierarchies mounted on this host, from a mountinfo file (proc(5)). */
export function parseCgroupMounts(mountinfo: string): readonly CgroupHierarchy[] {
  const hierarchies: CgroupHierarchy[] = [];
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const mountPoint = before?.split(' ')[4];
    const [type, , superOptions] = after?.split(' ') ?? [];
    if (mountPoint === undefined) continue;
    if (type === 'cgroup2') hierarchies.push({ mountPoint, controllers: [], version: 2 });
    if (type === 'cgroup') {
      const controllers = (superOptions ?? '').split(',').filter((option) => !['rw', 'ro', 'xattr'].includes(option));
      hierarchies.push({ mountPoint, controllers, version: 1 });
    }
  }
  return hierarchies;
}

export async function cgroupHierarchies(): Promise<readonly CgroupHierarchy[]> {
  return parseCgroupMounts(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** A new cpuset of v1 is empty and takes no process until it has CPUs and memory nodes: they come from its parent. */
async function inheritCpuset(directory: string): Promise<void> {
  for (const file of ['cpuset.mems', 'cpuset.cpus']) {
    const own = (await readFile(join(directory, file), 'utf8')).trim();
    if (own === '') await writeFile(join(directory, file), await readFile(join(dirname(directory), file), 'utf8'));
  }
}

/** Children of a v2 cgroup have the controllers that it hands down. */
async function handDownControllers(directory: string): Promise<void> {
  const available = (await readFile(join(directory, 'cgroup.controllers'), 'utf8')).trim().split(' ');
  const wanted = available.filter((name) => ['cpu', 'cpuset', 'memory', 'pids', 'io'].includes(name));
  if (wanted.length > 0) {
    await writeFile(join(directory, 'cgroup.subtree_control'), wanted.map((name) => `+${name}`).join(' '));
  }
}

async function limitV1(directory: string, controllers: readonly string[], limits: PodCgroupLimits): Promise<void> {
  if (controllers.includes('cpu')) {
    await writeFile(join(directory, 'cpu.shares'), `${limits.cpuShares}`);
    if (limits.cpuQuota !== undefined) await writeFile(join(directory, 'cpu.cfs_quota_us'), `${limits.cpuQuota}`);
  }
  if (controllers.includes('memory') && limits.memoryBytes !== undefined) {
    await writeFile(join(directory, 'memory.limit_in_bytes'), `${limits.memoryBytes}`);
  }
}

async function limitV2(directory: string, limits: PodCgroupLimits): Promise<void> {
  // The kubelet's formula from shares to weight (KEP-2254).
  const weight = 1 + Math.floor(((limits.cpuShares - 2) * 9999) / 262142);
  await writeFile(join(directory, 'cpu.weight'), `${weight}`);
  if (limits.cpuQuota !== undefined) await writeFile(join(directory, 'cpu.max'), `${limits.cpuQuota} 100000`);
  if (limits.memoryBytes !== undefined) await writeFile(join(directory, 'memory.max'), `${limits.memoryBytes}`);
}

/**
 * Makes a pod's cgroup in every hierarchy, and those above it.
 * @param path - from the root of the hierarchies, such as `/holdfast-x/kubepods/pod<uid>`
 */
export async function createPodCgroup(path: string, limits: PodCgroupLimits): Promise<void> {
  const hierarchies = await cgroupHierarchies();
  const unified = !hierarchies.some(({ version }) => version === 1);
  for (const { mountPoint, controllers, version } of hierarchies) {
    if (version === 2 && !unified) continue;
    let directory = mountPoint;
    for (const name of relative('/', path).split('/')) {
      if (version === 2) await handDownControllers(directory);
      directory = join(directory, name);
      await mkdir(directory, { recursive: true });
      if (controllers.includes('cpuset')) await inheritCpuset(directory);
    }
    if (version === 2) await limitV2(directory, limits);
    else await limitV1(directory, controllers, limits);
  }
}

async function childrenOf(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function killAndRemove(directory: string): Promise<void> {
  for (const child of await childrenOf(directory)) await killAndRemove(child);
  const removed = async (): Promise<true | undefined> => {
    try {
      const members = await readFile(join(directory, 'cgroup.procs'), 'utf8');
      for (const pid of members.split('\n').map(Number)) if (pid > 0) signalProcess(pid, 'SIGKILL');
      await rmdir(directory);
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENODEV')) return true;
      if (isErrno(error, 'EBUSY')) return undefined;
      throw error;
    }
  };
  await pollUntil(`the processes in ${directory} to end`, REMOVAL_TIMEOUT_MS, removed);
}

/** Kills every process below the cgroup `path` and removes it, in every hierarchy. Succeeds when it is gone already. */
export async function removeCgroupTree(path: string): Promise<void> {
  for (const { mountPoint } of await cgroupHierarchies()) await killAndRemove(join(mountPoint, path));
}
