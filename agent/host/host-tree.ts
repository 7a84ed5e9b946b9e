// The narrow door to the files of a host: texts, listings and links below a root directory, which is `/` for this
// machine and any folder for a copy of another's. Nothing leads out of it.
import { constants } from 'node:fs';
import { open, readdir, readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';

/** The content of one file, with the name that errors give it. */
export interface HostText {
  /** As on the host: begins with `/`, without the root directory. */
  readonly path: string;
  readonly text: string;
}

export interface HostEntry {
  readonly name: string;
  readonly kind: 'directory' | 'other';
}

export interface ReadLimit {
  /** Default 64 KiB: more than any file of sysfs has. */
  readonly maxBytes: number;
  /** What happens to a longer file; default `refuse`. */
  readonly longer?: 'refuse' | 'cut';
}

export interface HostTree {
  readonly root: string;
  /**
   * A regular file as text, trailing NUL bytes (which copies of sysfs may have) taken off; undefined when there is none.
   * @throws HoldfastError HOST_FAILURE when it cannot be read, is too long, or leads out of the root directory
   */
  readText(path: string, limit?: ReadLimit): Promise<HostText | undefined>;
  /** The names in a directory, sorted; undefined when there is none. */
  list(path: string): Promise<readonly string[] | undefined>;
  /** As list, with what each entry is; a link to a directory counts as `other`, as it does for whoever walks a tree. */
  listKinds(path: string): Promise<readonly HostEntry[] | undefined>;
  /** What a symbolic link says; undefined when there is none, or it may not be read. */
  readLink(path: string): Promise<string | undefined>;
}

/** Holds nearly every file of sysfs; longer ones double it. */
const FIRST_READ_BYTES = 2048;
const SYSFS_LIMIT: ReadLimit = { maxBytes: 64 * 1024 };
/** A process may end, and a CPU or a node may leave, between the listing of a directory and the reading of its files. */
const GONE = ['ENOENT', 'ENOTDIR', 'ESRCH', 'ENODEV', 'ENXIO'] as const;

function failure(path: string, what: string, cause: unknown): HoldfastError {
  return new HoldfastError('HOST_FAILURE', `${path} cannot be ${what}`, { cause });
}

/** As Linux has it. */
const MAX_LINKS = 40;

/** @returns undefined for what is no link */
async function linkTarget(absolute: string): Promise<string | undefined> {
  try {
    return await readlink(absolute);
  } catch (error) {
    if (isErrno(error, 'EINVAL')) return undefined;
    throw error;
  }
}

/** Opening never waits: a FIFO in a copied tree would hold a thread for ever. */
async function readBounded(absolute: string, path: string, limit: ReadLimit): Promise<HostText> {
  await using file = await open(absolute, constants.O_RDONLY | constants.O_NONBLOCK);
  if (!(await file.stat()).isFile()) throw new HoldfastError('HOST_FAILURE', `${path} is not a regular file`);
  let buffer = Buffer.allocUnsafe(Math.min(FIRST_READ_BYTES, limit.maxBytes + 1));
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (bytesRead === 0 || length > limit.maxBytes) break;
    if (length === buffer.length) {
      buffer = Buffer.concat([buffer], Math.min(buffer.length * 2, limit.maxBytes + 1));
    }
  }
  if (length > limit.maxBytes && limit.longer !== 'cut') {
    throw new HoldfastError('HOST_FAILURE', `${path} is longer than ${limit.maxBytes} bytes`);
  }
  const text = buffer.toString('utf8', 0, Math.min(length, limit.maxBytes));
  return { path, text: text.replace(/\0+$/, '') };
}

/**
 * Opens the tree below a directory.
 * @param root - `/`, or the folder that holds another machine's `sys` and `proc`
 * @throws HoldfastError NOT_FOUND when there is no such directory
 */
export async function openHostTree(root: string): Promise<HostTree> {
  let base: string;
  try {
    base = await realpath(root);
  } catch (cause) {
    throw new HoldfastError('NOT_FOUND', `the root directory ${root} cannot be opened`, { cause });
  }

  const isInside = (absolute: string): boolean => absolute === base || absolute.startsWith(base + sep);

  /** Part by part, with absolute links meant as the machine means them whose tree this is. */
  const follow = async (path: string): Promise<string> => {
    const parts = relative(base, join(base, path)).split(sep);
    let at = base;
    for (let links = 0, part = parts.shift(); part !== undefined; part = parts.shift()) {
      at = join(at, part);
      if (!isInside(at)) break;
      const target = await linkTarget(at);
      if (target === undefined) continue;
      links += 1;
      if (links > MAX_LINKS) throw new HoldfastError('HOST_FAILURE', `${path} leads through over ${MAX_LINKS} links`);
      at = isAbsolute(target) ? base : dirname(at);
      parts.unshift(...target.split(sep));
    }
    if (isInside(at)) return at;
    throw new HoldfastError('HOST_FAILURE', `${path} is a link that leads out of the root directory ${root}`);
  };

  /** On this machine links may lead anywhere; in a copy they must stay inside it. */
  const locate = async (path: string): Promise<string> => {
    const absolute = join(base, path);
    if (base === sep) return absolute;
    // The quick way: a copy has thousands of files, and hardly an absolute link.
    const real = await realpath(absolute).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    });
    return real !== undefined && isInside(real) ? real : await follow(path);
  };

  const unlessGone = async <Result>(path: string, what: string, work: () => Promise<Result>) => {
    try {
      return await work();
    } catch (error) {
      if (isErrno(error, ...GONE)) return undefined;
      throw error instanceof HoldfastError ? error : failure(path, what, error);
    }
  };

  return {
    root,
    readText: (path, limit = SYSFS_LIMIT) =>
      unlessGone(path, 'read', async () => readBounded(await locate(path), path, limit)),
    list: (path) => unlessGone(path, 'listed', async () => (await readdir(await locate(path))).sort()),
    listKinds: (path) =>
      unlessGone(path, 'listed', async () => {
        const entries = await readdir(await locate(path), { withFileTypes: true });
        return entries
          .map((entry): HostEntry => ({ name: entry.name, kind: entry.isDirectory() ? 'directory' : 'other' }))
          .sort((a, b) => (a.name < b.name ? -1 : 1));
      }),
    readLink: async (path) => {
      try {
        return await readlink(join(base, path));
      } catch (error) {
        if (isErrno(error, ...GONE, 'EINVAL', 'EACCES', 'EPERM')) return undefined;
        throw failure(path, 'read', error);
      }
    },
  };
}

/**
 * Does the same work for many items, a bounded number at a time; results in the order of the items. The first failure
 * ends it.
 */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = items.entries();
  let failed = false;
  const drain = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (failed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, drain));
  return results;
}
