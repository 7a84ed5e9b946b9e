// Which network namespaces are still anybody's: those whose file is there, and those that a process lives in.
import { readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';
import { mapBounded } from '../host-tree.ts';

/** Processes that are looked at at a time. */
const AT_ONCE = 16;

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ESRCH')) return undefined;
    throw new HoldfastError('HOST_FAILURE', `${path} cannot be looked at`, { cause: error });
  }
}

/** Inodes of the namespaces that processes live in. */
async function inhabited(procfs: string): Promise<ReadonlySet<number>> {
  const processes = (await readdir(procfs)).filter((name) => /^\d+$/.test(name));
  const inodes = await mapBounded(processes, AT_ONCE, async (name) => {
    try {
      return /^net:\[(\d+)\]$/.exec(await readlink(join(procfs, name, 'ns', 'net')))?.[1];
    } catch (error) {
      // It has ended meanwhile; kernel threads and zombies have no namespaces.
      if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES')) return undefined;
      throw error;
    }
  });
  return new Set(inodes.filter((each) => each !== undefined).map(Number));
}

export interface NamespaceUse {
  /** Paths whose files are there. */
  readonly present: ReadonlySet<string>;
  /** Of those, the ones that a process lives in. */
  readonly inhabited: ReadonlySet<string>;
}

/**
 * Looks at every process of the host: not for a path that somebody waits on.
 * @param paths - of namespaces, as the runtime gave them
 * @throws HoldfastError HOST_FAILURE
 */
export async function lookAtNamespaces(paths: readonly string[], procfs = '/proc'): Promise<NamespaceUse> {
  const found = await mapBounded(paths, AT_ONCE, async (path) => ({ path, inode: await inodeOf(path) }));
  const present = found.filter(({ inode }) => inode !== undefined);
  const lived = present.length === 0 ? new Set<number>() : await inhabited(procfs);
  return {
    present: new Set(present.map(({ path }) => path)),
    inhabited: new Set(present.filter(({ inode }) => inode !== undefined && lived.has(inode)).map(({ path }) => path)),
  };
}
