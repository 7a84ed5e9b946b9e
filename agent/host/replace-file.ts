// Files that other programs read at any time: replaced as a whole, never seen half written.
import { rename, rm, writeFile } from 'node:fs/promises';
import { HoldfastError } from '../../lib/errors.ts';

/**
 * Replaces the file by rename. Not synced to disk: for files of /run, which a reboot empties anyway.
 * @param mode - of the new file
 * @throws HoldfastError HOST_FAILURE; the old file is then still there
 */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${process.pid}.new`;
  try {
    await writeFile(temporary, text, { mode, flag: 'w' });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new HoldfastError('HOST_FAILURE', `${path} cannot be replaced`, { cause });
  }
}
