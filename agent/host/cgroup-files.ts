// Single files of a cgroup: a cgroup that is gone is an answer, everything else is an error.
import { close, constants, open, write } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { CpuSet } from '../model/cpu-set.ts';

/** A cgroup is removed as soon as its last process is gone: opening then fails, writing to an open file too. */
function isGone(error: unknown): boolean {
  return isErrno(error, 'ENOENT', 'ENODEV', 'ENOTDIR');
}

/** @returns undefined when there is no such file */
export async function readCgroupFile(directory: string, name: string): Promise<string | undefined> {
  try {
    return (await readFile(posix.join(directory, name), 'utf8')).trim();
  } catch (cause) {
    if (isGone(cause)) return undefined;
    throw new HoldfastError('HOST_FAILURE', `${posix.join(directory, name)} cannot be read`, { cause });
  }
}

/** @returns undefined when there is no such file */
export async function readCgroupSet(directory: string, name: string): Promise<CpuSet | undefined> {
  const text = await readCgroupFile(directory, name);
  return text === undefined ? undefined : CpuSet.parse(text);
}

/**
 * One write, as the kernel takes it. Without the promises of node:fs, which cost two thirds more: hundreds of containers
 * are written while one waits for its start.
 */
function writeOnce(path: string, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    open(path, constants.O_WRONLY | constants.O_TRUNC, (failure, file) => {
      if (failure !== null) {
        reject(failure);
        return;
      }
      write(file, text, (refusal) => {
        // The kernel has taken or refused the text by now; closing says nothing more.
        close(file, () => {});
        if (refusal === null) resolve();
        else reject(refusal);
      });
    });
  });
}

/**
 * Writes a file that must exist already: a file made in a cgroup's place would hide that the cgroup is gone.
 * @returns whether it was there
 * @throws NodeJS.ErrnoException when the kernel refuses
 */
export async function writeCgroupFile(directory: string, name: string, text: string): Promise<boolean> {
  try {
    await writeOnce(posix.join(directory, name), text);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The cgroups directly below. */
export async function listChildren(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => posix.join(directory, entry.name));
  } catch (cause) {
    if (isGone(cause)) return [];
    throw new HoldfastError('HOST_FAILURE', `${directory} cannot be listed`, { cause });
  }
}

/** What the kernel's refusal means. */
export function refusedByKernel(directory: string, name: string, text: string, cause: unknown): HoldfastError {
  return new HoldfastError('HOST_FAILURE', `the kernel refuses "${text}" for ${posix.join(directory, name)}`, {
    cause,
  });
}
