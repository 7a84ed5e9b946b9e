// A program as a tree of files: listed, told apart by its content, copied as a whole. An unfinished copy never has the
// name of a finished one.
import { createHash } from 'node:crypto';
import { chmod, copyFile, lstat, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { runCommand } from './command.ts';
import { mapBounded } from './host-tree.ts';
import { makeFolders } from './make-folders.ts';

export interface ProgramFile {
  /** Relative to the tree, with slashes. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly executable: boolean;
}

/** Deeper than any package nests its folders; ends a loop of mounts. */
const MAX_DEPTH = 32;
const MAX_FILES = 100_000;
const AT_ONCE = 8;
const SYNC_TIMEOUT_MS = 10 * 60_000;
const DIGEST_LENGTH = 12;

/**
 * The regular files below some entries of a directory, sorted. Links are passed over: what they lead to may change, and
 * packages have none but those of node_modules/.bin.
 * @param entries - files or directories, relative; one that does not exist has nothing
 * @param keep - whether a file or directory (relative path) belongs to the program
 */
export async function listProgram(
  root: string,
  entries: readonly string[],
  keep: (path: string) => boolean,
): Promise<readonly ProgramFile[]> {
  const files: ProgramFile[] = [];
  const visit = async (path: string, depth: number): Promise<void> => {
    if (!keep(path)) return;
    const stats = await lstat(join(root, path)).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw new HoldfastError('HOST_FAILURE', `${join(root, path)} cannot be read`, { cause: error });
    });
    if (stats === undefined) return;
    if (stats.isFile()) files.push({ path, size: stats.size, executable: (stats.mode & 0o100) !== 0 });
    if (files.length > MAX_FILES || depth > MAX_DEPTH) {
      throw new HoldfastError('PRECONDITION', `${root} has too many files for a program of ours`);
    }
    if (!stats.isDirectory()) return;
    for (const name of (await readdir(join(root, path))).sort()) await visit(`${path}/${name}`, depth + 1);
  };
  for (const entry of entries.toSorted()) await visit(entry, 0);
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Read as a whole: the largest are a few megabytes, and a stream for each of thousands costs more than its content. */
async function digestFile(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** What tells one build of the program from another: the first digits of a SHA-256 over names, modes and contents. */
export async function digestProgram(root: string, files: readonly ProgramFile[]): Promise<string> {
  const digests = await mapBounded(files, AT_ONCE, ({ path }) => digestFile(join(root, path)));
  const hash = createHash('sha256');
  for (const [index, { path, executable }] of files.entries()) {
    hash.update(`${JSON.stringify([path, executable, digests[index]])}\n`);
  }
  return hash.digest('hex').slice(0, DIGEST_LENGTH);
}

/** Whether a folder is a copy that was not finished. */
export function isPartialName(name: string): boolean {
  return /^\.\d+\.partial$/.test(name);
}

/**
 * Copies the files to a directory that then exists as a whole. What an interrupted copy left is replaced; a directory of
 * that name too.
 */
export async function copyProgram(from: string, files: readonly ProgramFile[], to: string): Promise<void> {
  const partial = join(dirname(to), `.${process.pid}.partial`);
  try {
    await makeFolders(dirname(to), 0o755);
    for (const name of await readdir(dirname(to))) {
      if (isPartialName(name)) await rm(join(dirname(to), name), { recursive: true, force: true });
    }
    for (const directory of new Set(files.map(({ path }) => dirname(path)))) {
      await makeFolders(join(partial, directory), 0o755);
    }
    await mapBounded(files, AT_ONCE, async ({ path, executable }) => {
      const target = join(partial, path);
      await copyFile(join(from, path), target);
      await chmod(target, executable ? 0o755 : 0o644);
    });
    // Once for all: thousands of files synced one by one take minutes on a slow disk.
    await runCommand('sync', ['--file-system', partial], { timeoutMs: SYNC_TIMEOUT_MS });
    await rm(to, { recursive: true, force: true });
    await rename(partial, to);
    await using parent = await open(dirname(to), 'r');
    await parent.sync();
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    throw new HoldfastError('HOST_FAILURE', `the program cannot be copied to ${to}`, { cause });
  }
}

/** A file of the program as text. @throws HoldfastError HOST_FAILURE */
export async function readProgramText(root: string, path: string): Promise<string> {
  try {
    return await readFile(join(root, path), 'utf8');
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', `${join(root, path)} cannot be read`, { cause });
  }
}

/** Whether the program has that file. */
export async function isProgramFileThere(root: string, path: string): Promise<boolean> {
  try {
    return (await lstat(join(root, path))).isFile();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw new HoldfastError('HOST_FAILURE', `${join(root, path)} cannot be read`, { cause: error });
  }
}
