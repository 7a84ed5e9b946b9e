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
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ESRCH', 'EINVAL')) return undefined;
    throw new HoldfastError('HOST_FAILURE', `${path} cannot be looked at`, { cause: error });
  }
}

/** Names of numbers in a directory of procfs; none when it is gone. */
async function numbersIn(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).filter((name) => /^\d+$/.test(name));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return [];
    throw new HoldfastError('HOST_FAILURE', `${path} cannot be listed`, { cause: error });
  }
}

/**
 * proc_ns_readlink() of fs/proc/namespaces.c says the same of a task that has ended and of one that it hides from us. The
 * files below `net` are each namespace's own and hidden from nobody, so that neighbours of ours are known all the same.
 * @throws HoldfastError HOST_FAILURE for one that lives elsewhere: any namespace may be its, and none is known to be empty
 */
async function namespaceOfHidden(procfs: string, directory: string, cause: unknown): Promise<number | undefined> {
  const [its, ours] = [await inodeOf(join(directory, 'net', 'dev')), await inodeOf(join(procfs, 'self', 'net', 'dev'))];
  if (its === undefined) return undefined;
  if (its === ours) return await inodeOf(join(procfs, 'self', 'ns', 'net'));
  const what = `${directory}/ns/net cannot be read, so that no network namespace is known to be empty`;
  throw new HoldfastError('HOST_FAILURE', `${what}; the agent needs CAP_SYS_PTRACE`, { cause });
}

/**
 * The inode of the namespace that a process or thread lives in; undefined for what has ended, and for zombies.
 * @param directory - of the process or thread in procfs
 */
async function namespaceOf(procfs: string, directory: string): Promise<number | undefined> {
  const path = join(directory, 'ns', 'net');
  try {
    const inode = /^net:\[(\d+)\]$/.exec(await readlink(path))?.[1];
    return inode === undefined ? undefined : Number(inode);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return undefined;
    if (!isErrno(error, 'EACCES')) throw new HoldfastError('HOST_FAILURE', `${path} cannot be read`, { cause: error });
    return await namespaceOfHidden(procfs, directory, error);
  }
}

/** Inodes of the namespaces that processes live in. */
async function inhabited(procfs: string): Promise<ReadonlySet<number>> {
  const inodes = await mapBounded(await numbersIn(procfs), AT_ONCE, async (name): Promise<readonly number[]> => {
    const directory = join(procfs, name);
    const inode = await namespaceOf(procfs, directory);
    if (inode !== undefined) return [inode];
    // A process whose first thread has ended lives on in the others.
    const tasks = join(directory, 'task');
    const others: number[] = [];
    for (const thread of await numbersIn(tasks)) {
      const own = await namespaceOf(procfs, join(tasks, thread));
      if (own !== undefined) others.push(own);
    }
    return others;
  });
  return new Set(inodes.flat());
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
