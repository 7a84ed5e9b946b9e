// Moves a directory in one step and makes it durable. Paths are absolute ones of the host, below the root directory.
import type { BigIntStats } from 'node:fs';
import { chmod, chown, lstat, mkdir, open, opendir, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';

/** What tells a directory from another, whatever its name is. */
export interface DirectoryIdentity {
  /** Decimal digits: inode numbers may be larger than JavaScript's integers. */
  readonly device: string;
  readonly inode: string;
}

export interface DirectoryFacts extends DirectoryIdentity {
  /** Permission bits, set-ID and sticky bits included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** `not-empty`: there is something in the directory to be replaced. `other-filesystem`: rename cannot cross that border. */
export type MoveResult = 'moved' | 'not-empty' | 'other-filesystem';

export interface Directories {
  /** undefined when there is no directory (a symbolic link is none). */
  factsOf(path: string): Promise<DirectoryFacts | undefined>;
  /** A directory that does not exist has nothing in it. */
  isEmpty(path: string): Promise<boolean>;
  /** Renames `from` to `to`, where an empty directory is replaced in the same step. */
  moveOver(from: string, to: string): Promise<MoveResult>;
  /** Makes an empty directory with the owner and mode of another; nothing happens when it or its parent is there / gone. */
  makeLike(path: string, facts: DirectoryFacts): Promise<void>;
  /** Makes the entries of the directories that hold these paths durable; passes over those that do not exist. */
  syncParents(...paths: readonly string[]): Promise<void>;
}

function failure(what: string, cause: unknown): HoldfastError {
  return new HoldfastError('HOST_FAILURE', what, { cause });
}

/** @param root - `/`, or the directory below which the host's tree lies */
export function openDirectories(root: string): Directories {
  const locate = (path: string): string => join(root, path);

  const syncDirectory = async (path: string): Promise<void> => {
    try {
      await using directory = await open(path, 'r');
      await directory.sync();
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw failure(`the directory ${path} could not be made durable`, error);
    }
  };

  return {
    factsOf: async (path) => {
      let stats: BigIntStats;
      try {
        stats = await lstat(locate(path), { bigint: true });
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw failure(`${path} cannot be looked at`, error);
      }
      if (!stats.isDirectory()) return undefined;
      return {
        device: `${stats.dev}`,
        inode: `${stats.ino}`,
        mode: Number(stats.mode & 0o7777n),
        uid: Number(stats.uid),
        gid: Number(stats.gid),
      };
    },

    isEmpty: async (path) => {
      try {
        // One entry is enough to know; the directory may have millions.
        const directory = await opendir(locate(path), { bufferSize: 1 });
        try {
          return (await directory.read()) === null;
        } finally {
          await directory.close();
        }
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return true;
        throw failure(`${path} cannot be listed`, error);
      }
    },

    moveOver: async (from, to) => {
      try {
        await rename(locate(from), locate(to));
        return 'moved';
      } catch (error) {
        if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return 'not-empty';
        if (isErrno(error, 'EXDEV')) return 'other-filesystem';
        throw failure(`${from} cannot be renamed to ${to}`, error);
      }
    },

    makeLike: async (path, { mode, uid, gid }) => {
      const made = locate(path);
      try {
        await mkdir(made, { mode: 0o700 });
      } catch (error) {
        if (isErrno(error, 'EEXIST', 'ENOENT')) return;
        throw failure(`${path} cannot be made`, error);
      }
      try {
        await chown(made, uid, gid);
        await chmod(made, mode);
      } catch (error) {
        throw failure(`${path} cannot be given its owner and mode`, error);
      }
    },

    syncParents: async (...paths) => {
      await Promise.all([...new Set(paths.map((path) => dirname(locate(path))))].map(syncDirectory));
    },
  };
}
