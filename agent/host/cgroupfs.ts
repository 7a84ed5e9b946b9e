// The cgroups of containers, v1 and v2 behind one interface: where they are, their CPUs and memory nodes, their quota.
import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import { readCgroupSet } from './cgroup-files.ts';
import { liftQuotaV1, writeCpusetV1 } from './cgroupfs-v1.ts';
import { liftQuotaV2, writeCpusetV2 } from './cgroupfs-v2.ts';
import {
  type CgroupMembership,
  type CgroupMount,
  containerPath,
  directoryOf,
  parseCgroupMounts,
  parseMemberships,
  podPath,
} from './process-cgroup.ts';

/** The directories of one container's cgroup. */
export interface ContainerCgroup {
  /** Of the hierarchy that has the cpusets. */
  readonly version: 1 | 2;
  readonly cpuset: string;
  /** The directories with a CPU quota over the container: its own, and the pod's when there is one. */
  readonly quotas: readonly { readonly version: 1 | 2; readonly directory: string }[];
}

export interface CgroupCpuset {
  /** Empty: the parent's. */
  readonly cpus: CpuSet;
  /** Empty: the parent's. */
  readonly mems: CpuSet;
}

export interface CgroupAccess {
  /** Which hierarchy has the cpusets; undefined where none is mounted. */
  readonly version: 1 | 2 | undefined;
  /**
   * Finds a container's cgroup through its process.
   * @returns undefined when the process is gone
   * @throws HoldfastError HOST_FAILURE when the process is not in a cgroup of that container
   */
  locate(pid: number, containerId: string, podUid: string): Promise<ContainerCgroup | undefined>;
  /** undefined when the cgroup is gone, or has no cpuset. */
  read(cgroup: ContainerCgroup): Promise<CgroupCpuset | undefined>;
  /**
   * Confines the container and what it nested inside. Undefined mems stay as they are.
   * @param known - the CPUs that it has, where that is known: spares a look
   * @returns false when the cgroup is gone
   * @throws HoldfastError HOST_FAILURE when the kernel refuses, UNSUPPORTED where the cpuset controller is off
   */
  write(cgroup: ContainerCgroup, cpus: CpuSet, mems: CpuSet | undefined, known?: CpuSet): Promise<boolean>;
  /** Takes the CPU quota off. @returns how many cgroups had one */
  liftQuota(cgroup: ContainerCgroup): Promise<number>;
}

async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (isErrno(cause, 'ENOENT', 'ESRCH')) return undefined;
    throw new HoldfastError('HOST_FAILURE', `${path} cannot be read`, { cause });
  }
}

/** Mounts below the root directory; a copied tree has them without it. */
function belowRoot(mounts: readonly CgroupMount[], root: string): readonly CgroupMount[] {
  if (root === '/') return mounts;
  const inside = mounts.filter(({ mountPoint }) => mountPoint.startsWith(`${root}/`));
  if (inside.length > 0) return inside;
  return mounts.map((mount) => ({ ...mount, mountPoint: posix.join(root, mount.mountPoint) }));
}

/**
 * The hierarchy that has a controller, and the process's path in it. Where v1 has it, the v2 hierarchy beside it does
 * not.
 */
function find(
  mounts: readonly CgroupMount[],
  memberships: readonly CgroupMembership[],
  controller: string,
): { readonly mount: CgroupMount; readonly path: string } | undefined {
  const v1 = memberships.find(({ controllers }) => controllers.includes(controller));
  const member = v1 ?? memberships.find(({ controllers }) => controllers.length === 0);
  const mount = mounts.find((each) => (v1 === undefined ? each.version === 2 : each.controllers.includes(controller)));
  return member === undefined || mount === undefined ? undefined : { mount, path: member.path };
}

/**
 * Opens the cgroups of a host.
 * @param root - `/`, or the directory that has the host's `/proc` and `/sys`
 */
export async function openCgroups(root: string): Promise<CgroupAccess> {
  const mountinfo = await readOrUndefined(posix.join(root, '/proc/self/mountinfo'));
  const mounts = belowRoot(parseCgroupMounts(mountinfo ?? ''), root);
  const hasV1 = mounts.some(({ controllers }) => controllers.includes('cpuset'));
  const hasV2 = mounts.some(({ version }) => version === 2);

  return {
    version: hasV1 ? 1 : hasV2 ? 2 : undefined,

    locate: async (pid, containerId, podUid) => {
      const text = await readOrUndefined(posix.join(root, '/proc', String(pid), 'cgroup'));
      if (text === undefined) return undefined;
      const memberships = parseMemberships(text);
      const cpuset = find(mounts, memberships, 'cpuset');
      const own = cpuset && containerPath(cpuset.path, containerId);
      if (cpuset === undefined || own === undefined) {
        throw new HoldfastError(
          'HOST_FAILURE',
          `process ${pid} of container ${containerId} is in cgroup ${cpuset?.path ?? '(none)'}, which does not carry the container's ID`,
        );
      }
      const cpu = find(mounts, memberships, 'cpu');
      const container = cpu && containerPath(cpu.path, containerId);
      const pod = container && podPath(container, podUid);
      const quotas = [container, pod].flatMap((path) =>
        cpu === undefined || path === undefined
          ? []
          : [{ version: cpu.mount.version, directory: directoryOf(cpu.mount, path) }],
      );
      return { version: cpuset.mount.version, cpuset: directoryOf(cpuset.mount, own), quotas };
    },

    read: async ({ cpuset }) => {
      const cpus = await readCgroupSet(cpuset, 'cpuset.cpus');
      const mems = cpus && (await readCgroupSet(cpuset, 'cpuset.mems'));
      return cpus === undefined || mems === undefined ? undefined : { cpus, mems };
    },

    write: ({ version, cpuset }, cpus, mems, known) =>
      version === 1 ? writeCpusetV1(cpuset, cpus, mems, known) : writeCpusetV2(cpuset, cpus, mems),

    liftQuota: async ({ quotas }) => {
      let lifted = 0;
      // From the outside in: in v1 a child may not have more than its parent.
      for (const { version, directory } of quotas.toReversed()) {
        if (await (version === 1 ? liftQuotaV1(directory) : liftQuotaV2(directory))) lifted += 1;
      }
      return lifted;
    },
  };
}
