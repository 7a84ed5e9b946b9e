// What the permissions of files and directories let this process do, and others.
import { access, constants, lstat } from 'node:fs/promises';
import { isErrno } from '../../lib/errors.ts';

const MODE_BITS = 0o7777;

/**
 * Whether something can be put into a directory: a file system that is mounted for reading refuses root, too.
 * @param path - absolute, as this process sees it
 */
export async function isWritableDirectory(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (isErrno(error, 'EROFS', 'EACCES', 'EPERM', 'ENOENT')) return false;
    throw error;
  }
}

/** The permission bits of what is there, a link itself; undefined when there is nothing. */
export async function modeOf(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).mode & MODE_BITS;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}
