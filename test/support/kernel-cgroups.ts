// Cgroups of this kernel with sleeping processes in them, below one of their own that is removed at the end.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CgroupMount, directoryOf, parseCgroupMounts, parseMemberships } from '../../agent/host/process-cgroup.ts';
import type { CgroupPath, ContainerHost } from './cpuset-node.ts';

export interface KernelCgroups extends ContainerHost {
  readonly version: 1 | 2;
  /** The directory that has its CPU quota. */
  quotaDirectory(path: CgroupPath): string;
  /** Ends every process and removes every cgroup that was made here. */
  remove(): Promise<void>;
}

/** One hierarchy: where its cgroups are made, and where the processes came from. */
interface Hierarchy {
  readonly version: 1 | 2;
  readonly cpuset: boolean;
  readonly base: string;
}

async function findHierarchies(name: string): Promise<readonly Hierarchy[]> {
  const mounts = parseCgroupMounts(await readFile('/proc/self/mountinfo', 'utf8'));
  const memberships = parseMemberships(await readFile('/proc/self/cgroup', 'utf8'));
  const v1 = (controller: string): CgroupMount | undefined =>
    mounts.find(({ controllers }) => controllers.includes(controller));
  const own = (mount: CgroupMount, controller: string): string => {
    const path = memberships.find(({ controllers }) => controllers.includes(controller))?.path ?? '/';
    return join(directoryOf(mount, path), name);
  };
  const cpuset = v1('cpuset');
  const cpu = v1('cpu');
  if (cpuset !== undefined) {
    const first = { version: 1 as const, cpuset: true, base: own(cpuset, 'cpuset') };
    return cpu === undefined ? [first] : [first, { version: 1, cpuset: false, base: own(cpu, 'cpu') }];
  }
  const v2 = mounts.find(({ version }) => version === 2);
  // In v2 processes are in leaves only: the cgroups are made at the top, not below our own.
  return v2 === undefined ? [] : [{ version: 2, cpuset: true, base: join(v2.mountPoint, name) }];
}

/** Makes a cgroup whose children have cpusets. */
async function makeInner({ version, cpuset }: Hierarchy, directory: string): Promise<void> {
  await mkdir(directory);
  if (version === 2) await writeFile(join(directory, 'cgroup.subtree_control'), '+cpuset +cpu');
  else if (cpuset) {
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      await writeFile(join(directory, file), await readFile(join(directory, '..', file), 'utf8'));
    }
  }
}

/**
 * Opens a place for test cgroups.
 * @returns the reason, where this host or user has none
 */
export async function openKernelCgroups(): Promise<KernelCgroups | string> {
  if (process.getuid?.() !== 0) return 'cgroups can be made by root only';
  const hierarchies = await findHierarchies(`holdfast-test-${randomBytes(6).toString('hex')}`);
  const [first] = hierarchies;
  if (first === undefined) return 'no cgroup hierarchy with cpusets is mounted';
  const made: string[] = [];
  const processes = new Map<string, ChildProcess>();
  const inner = async (hierarchy: Hierarchy, directory: string): Promise<void> => {
    if (made.includes(directory)) return;
    await makeInner(hierarchy, directory);
    made.push(directory);
  };
  try {
    if (first.version === 2) await writeFile(join(first.base, '../cgroup.subtree_control'), '+cpuset +cpu');
    for (const hierarchy of hierarchies) await inner(hierarchy, hierarchy.base);
  } catch (error) {
    for (const directory of made) await rmdir(directory);
    return `cgroups cannot be made here: ${String(error)}`;
  }

  const end = async (child: ChildProcess): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  const removeCgroup = async (directory: string): Promise<void> => {
    // The kernel lets go of an ended process a moment after its parent has heard of it.
    for (let attempt = 0; ; attempt += 1) {
      try {
        await rmdir(directory);
        return;
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
        if (attempt === 100) throw error;
        await sleep(20);
      }
    }
  };
  const at = ({ base }: Hierarchy, { pod, container }: CgroupPath): string => join(base, pod, container);

  return {
    version: first.version,
    root: '/',
    launch: async (path, cpus, mems) => {
      const child = spawn('sleep', ['600'], { stdio: 'ignore' });
      await once(child, 'spawn');
      processes.set(path.container, child);
      for (const hierarchy of hierarchies) {
        const directory = at(hierarchy, path);
        await inner(hierarchy, join(directory, '..'));
        await mkdir(directory);
        made.push(directory);
        if (hierarchy.cpuset) {
          await writeFile(join(directory, 'cpuset.mems'), mems);
          await writeFile(join(directory, 'cpuset.cpus'), cpus);
        }
        await writeFile(join(directory, 'cgroup.procs'), String(child.pid));
      }
      return child.pid ?? -1;
    },
    exit: async (path) => {
      const child = processes.get(path.container);
      if (child !== undefined) await end(child);
      for (const hierarchy of hierarchies) await removeCgroup(at(hierarchy, path));
    },
    directory: (path) => at(first, path),
    quotaDirectory: (path) => at(hierarchies.at(-1) ?? first, path),
    remove: async () => {
      await Promise.all([...processes.values()].map(end));
      for (const directory of made.toReversed()) await removeCgroup(directory);
    },
  };
}
