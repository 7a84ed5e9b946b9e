// Looks for a mount in every mount namespace that a process is in: a directory may be mounted where nobody looks, in
// the private namespace of a container that copied the host's mount table.
import { HoldfastError } from '../../lib/errors.ts';
import { type HostTree, mapBounded } from './host-tree.ts';
import { parseOverlayMounts } from './mounts-parse.ts';

export interface FoundMount {
  /** A process that has it. */
  readonly pid: number;
  readonly mountPoint: string;
}

const AT_ONCE = 16;
/** A host with thousands of containers has a few thousand mounts of a few hundred bytes each. */
const MOUNTINFO_LIMIT = { maxBytes: 32 * 1024 * 1024 };

/** The processes of each mount namespace, by the namespace's name (`mnt:[4026531840]`). */
async function mountNamespaces(tree: HostTree, signal: AbortSignal): Promise<ReadonlyMap<string, readonly number[]>> {
  const names = await tree.list('/proc');
  if (names === undefined) throw new HoldfastError('HOST_FAILURE', `there is no /proc below ${tree.root}`);
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const namespaces = new Map<string, number[]>();
  await mapBounded(pids, AT_ONCE, async (pid) => {
    signal.throwIfAborted();
    const namespace = await tree.readLink(`/proc/${pid}/ns/mnt`);
    if (namespace === undefined) return;
    const members = namespaces.get(namespace);
    if (members === undefined) namespaces.set(namespace, [pid]);
    else members.push(pid);
  });
  return namespaces;
}

/** undefined when none of the processes is there any more. */
async function readMountinfo(
  tree: HostTree,
  pids: readonly number[],
): Promise<{ readonly pid: number; readonly text: string } | undefined> {
  for (const pid of pids) {
    try {
      const file = await tree.readText(`/proc/${pid}/mountinfo`, MOUNTINFO_LIMIT);
      if (file !== undefined) return { pid, text: file.text };
    } catch (error) {
      // A process that ended meanwhile has no namespace and gives EINVAL; any other failure must not pass for "not mounted".
      if ((await tree.readLink(`/proc/${pid}/ns/mnt`)) !== undefined) throw error;
    }
  }
  return undefined;
}

/**
 * Finds an overlay mount that writes into `upperdir`, in any mount namespace.
 * @param upperdir - absolute path as the runtime gives it to the kernel
 * @returns undefined when there is none
 * @throws HoldfastError HOST_FAILURE when a namespace cannot be looked into
 */
export async function findOverlayMount(
  tree: HostTree,
  upperdir: string,
  signal: AbortSignal,
): Promise<FoundMount | undefined> {
  const namespaces = [...(await mountNamespaces(tree, signal)).values()];
  const found = await mapBounded(namespaces, AT_ONCE, async (pids) => {
    signal.throwIfAborted();
    const mountinfo = await readMountinfo(tree, pids);
    if (mountinfo === undefined) return undefined;
    const mount = parseOverlayMounts(mountinfo.text).find((each) => each.upperdir === upperdir);
    return mount === undefined ? undefined : { pid: mountinfo.pid, mountPoint: mount.mountPoint };
  });
  return found.find((each) => each !== undefined);
}
