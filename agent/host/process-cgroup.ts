// Which cgroup a process is in, and which part of its path is the container's and the pod's. Parsing is pure; the
// paths come from /proc of another process and are checked all the same.
import { posix } from 'node:path';
import { HoldfastError } from '../../lib/errors.ts';

/** A mounted cgroup hierarchy. */
export interface CgroupMount {
  readonly version: 1 | 2;
  /** v1 only; the empty list for v2. */
  readonly controllers: readonly string[];
  /** Which part of the hierarchy is mounted: `/` unless a container runtime mounted a sub-tree for us. */
  readonly root: string;
  readonly mountPoint: string;
}

export interface CgroupMembership {
  /** Empty for the v2 hierarchy. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** In mountinfo blank, tab, newline and backslash are octal (man 5 proc_pid_mountinfo). */
function unescapeMountField(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The cgroup hierarchies in /proc/<pid>/mountinfo. */
export function parseCgroupMounts(mountinfo: string): readonly CgroupMount[] {
  return mountinfo.split('\n').flatMap((line): readonly CgroupMount[] => {
    const [before, after] = line.split(' - ', 2);
    const [, , , root, mountPoint] = before?.split(' ') ?? [];
    const [type, , superOptions] = after?.split(' ') ?? [];
    if (root === undefined || mountPoint === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return [];
    return [
      {
        version: type === 'cgroup' ? 1 : 2,
        controllers: type === 'cgroup' ? (superOptions?.split(',') ?? []) : [],
        root: unescapeMountField(root),
        mountPoint: unescapeMountField(mountPoint),
      },
    ];
  });
}

/** The lines of /proc/<pid>/cgroup (man 7 cgroups). */
export function parseMemberships(text: string): readonly CgroupMembership[] {
  return text.split('\n').flatMap((line): readonly CgroupMembership[] => {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
    const [, controllers, path] = match ?? [];
    if (controllers === undefined || path === undefined) return [];
    return [{ controllers: controllers === '' ? [] : controllers.split(','), path }];
  });
}

/**
 * Where a cgroup is in the file system.
 * @param path - as in /proc/<pid>/cgroup
 * @throws HoldfastError HOST_FAILURE when it is outside what is mounted
 */
export function directoryOf(mount: CgroupMount, path: string): string {
  const relative = mount.root === '/' ? path : path.slice(mount.root.length);
  const inside = mount.root === '/' || path === mount.root || path.startsWith(`${mount.root}/`);
  if (!inside || path.split('/').includes('..') || path.includes('\0')) {
    throw new HoldfastError('HOST_FAILURE', `cgroup ${path} is outside the hierarchy mounted at ${mount.mountPoint}`);
  }
  return posix.join(mount.mountPoint, relative);
}

/**
 * The container's own cgroup, which may be above the one its process moved to (systemd inside a container makes more).
 * Runtimes name it after the container: `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`.
 *
 * @returns undefined when no part of the path has the ID: the process is not the container's
 */
export function containerPath(path: string, containerId: string): string | undefined {
  const parts = path.split('/');
  const index = parts.findIndex((part) => containerId !== '' && part.includes(containerId));
  return index < 0 ? undefined : parts.slice(0, index + 1).join('/');
}

/**
 * The pod's cgroup, when the one above the container's is the pod's own: `pod<uid>` with the cgroupfs driver,
 * `kubepods-…-pod<uid with underscores>.slice` with systemd.
 */
export function podPath(container: string, podUid: string): string | undefined {
  const parent = posix.dirname(container);
  const name = posix.basename(parent);
  if (podUid === '') return undefined;
  return name === `pod${podUid}` || name.endsWith(`-pod${podUid.replaceAll('-', '_')}.slice`) ? parent : undefined;
}
