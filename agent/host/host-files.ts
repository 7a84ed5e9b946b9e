// Files of the host that people and other programs rely on: read with their mode, replaced as a whole and durably,
// links switched in one step. Nothing leads out of the root directory.
import { lstat, open, readdir, readlink, realpath, rename, rm, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { makeFolders } from './make-folders.ts';

/** What is at a path. A link is not followed. */
export type HostPath =
  | { readonly kind: 'file'; readonly text: string; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory' }
  /** A device, a socket, or a file too long to be one of ours. */
  | { readonly kind: 'other' };

export interface HostFiles {
  readonly root: string;
  /** Where a path of the host is for this process; for reading. */
  locate(path: string): string;
  /**
   * As locate, for those who write there themselves.
   * @throws HoldfastError HOST_FAILURE when a link leads out of the root directory
   */
  locateInside(path: string): Promise<string>;
  /** undefined when there is nothing. */
  look(path: string): Promise<HostPath | undefined>;
  /** The names in a directory, sorted; empty when there is none. */
  list(path: string): Promise<readonly string[]>;
  /** Replaces the file by rename, durable when this resolves; makes its directory where that is missing. */
  write(path: string, text: string, mode: number): Promise<void>;
  /** Makes the symbolic link, or switches the one that is there, in one step. */
  link(path: string, target: string): Promise<void>;
  /** Makes a directory and those above it; one that is there keeps its mode. */
  makeDirectory(path: string, mode: number): Promise<void>;
  /** Removes a file or a link; succeeds when there is none. */
  remove(path: string): Promise<void>;
  /** Removes a directory if it is empty. */
  removeEmpty(path: string): Promise<void>;
  /** Removes a directory with all that is in it; succeeds when there is none. */
  removeTree(path: string): Promise<void>;
}

const MAX_TEXT_BYTES = 1024 * 1024;
const MODE_BITS = 0o7777;

function failure(path: string, what: string, cause: unknown): HoldfastError {
  if (cause instanceof HoldfastError) return cause;
  return new HoldfastError('HOST_FAILURE', `${path} cannot be ${what}`, { cause });
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

/**
 * @param root - `/`, or the directory below which the host's tree lies (an image that is being prepared)
 * @throws HoldfastError NOT_FOUND when there is no such directory
 */
export async function openHostFiles(root: string): Promise<HostFiles> {
  let base: string;
  try {
    base = await realpath(root);
  } catch (cause) {
    throw new HoldfastError('NOT_FOUND', `the root directory ${root} cannot be opened`, { cause });
  }
  const locate = (path: string): string => join(base, path);

  /** Links among the directories of an image may be absolute: what is written through them would be this machine's. */
  const requireInside = async (path: string): Promise<void> => {
    if (base === sep) return;
    for (let at = dirname(locate(path)); at.length > base.length; at = dirname(at)) {
      let real: string | undefined;
      try {
        real = await realpath(at);
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error;
        // A link to a directory of the image that this machine does not have leads out just as well.
        if (!(await isLink(at))) continue;
      }
      if (real === base || real?.startsWith(base + sep) === true) return;
      throw new HoldfastError('HOST_FAILURE', `${path} leads out of the root directory ${root}`);
    }
  };

  const locateInside = async (path: string): Promise<string> => {
    try {
      await requireInside(path);
    } catch (cause) {
      throw failure(path, 'located', cause);
    }
    return locate(path);
  };

  const change = async (path: string, what: string, work: (absolute: string) => Promise<void>): Promise<void> => {
    try {
      await work(await locateInside(path));
    } catch (cause) {
      throw failure(path, what, cause);
    }
  };

  const makeParent = (absolute: string) => makeFolders(dirname(absolute), 0o755);

  /** Puts something under a temporary name in its place. */
  const replace = async (absolute: string, make: (temporary: string) => Promise<void>): Promise<void> => {
    await makeParent(absolute);
    const temporary = `${absolute}.${process.pid}.new`;
    try {
      await rm(temporary, { force: true });
      await make(temporary);
      await rename(temporary, absolute);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(dirname(absolute));
  };

  const unlessAbsent = async (work: Promise<void>): Promise<void> => {
    try {
      await work;
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    }
  };

  return {
    root,
    locate,
    locateInside,
    look: async (path) => {
      try {
        const stats = await lstat(locate(path));
        if (stats.isSymbolicLink()) return { kind: 'link', target: await readlink(locate(path)) };
        if (stats.isDirectory()) return { kind: 'directory' };
        if (!stats.isFile() || stats.size > MAX_TEXT_BYTES) return { kind: 'other' };
        await using file = await open(locate(path), 'r');
        return { kind: 'file', text: await file.readFile('utf8'), mode: stats.mode & MODE_BITS };
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw failure(path, 'read', error);
      }
    },
    list: async (path) => {
      try {
        return (await readdir(locate(path))).sort();
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
        throw failure(path, 'listed', error);
      }
    },
    write: (path, text, mode) =>
      change(path, 'written', (absolute) =>
        replace(absolute, async (temporary) => {
          await using file = await open(temporary, 'wx', mode);
          await file.writeFile(text);
          // The process's mask took bits away.
          await file.chmod(mode);
          await file.sync();
        }),
      ),
    link: (path, target) =>
      change(path, 'linked', (absolute) => replace(absolute, (temporary) => symlink(target, temporary))),
    makeDirectory: (path, mode) =>
      change(path, 'made', async (absolute) => {
        await makeParent(absolute);
        await makeFolders(absolute, mode);
      }),
    remove: (path) => change(path, 'removed', (absolute) => unlessAbsent(unlink(absolute))),
    removeEmpty: (path) =>
      change(path, 'removed', async (absolute) => {
        await rmdir(absolute).catch((error: unknown) => {
          if (!isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
        });
      }),
    removeTree: (path) => change(path, 'removed', (absolute) => rm(absolute, { recursive: true, force: true })),
  };
}
