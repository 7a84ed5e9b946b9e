// A lock between processes that the kernel takes back when its holders die: flock(2), which Node does not have.
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from './errors.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;
const RETRY_MS = 20;

/** Whoever has the open file has the lock, children that inherit it too; closing it gives the lock back. */
export interface FileLock {
  readonly file: FileHandle;
  /** Otherwise another has the lock, and kept it. */
  readonly isHeld: boolean;
}

/**
 * Opens the file for reading and appending, and takes its lock.
 * @param path - of the lock file; it is made where it is missing, and stays
 * @param timeoutMs - milliseconds to wait for the lock
 */
export async function openLocked(path: string, timeoutMs: number): Promise<FileLock> {
  const { default: koffi } = await import('koffi');
  const flock = koffi.load(null).func('int flock(int fd, int operation)');
  const file = await open(path, 'a+', 0o600);
  try {
    const end = performance.now() + timeoutMs;
    for (;;) {
      if (Number(flock(file.fd, LOCK_EX | LOCK_NB)) === 0) return { file, isHeld: true };
      if (performance.now() > end) return { file, isHeld: false };
      await sleep(RETRY_MS);
    }
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Runs `work` while no other process and no other call runs under the same lock.
 * @param path - as for {@link openLocked}
 * @param timeoutMs - milliseconds to wait for the lock
 * @throws HoldfastError PRECONDITION when another process holds it for longer than that; what `work` throws
 */
export async function withFileLock<Result>(
  path: string,
  timeoutMs: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const { file, isHeld } = await openLocked(path, timeoutMs);
  try {
    if (!isHeld) {
      throw new HoldfastError('PRECONDITION', `another process holds the lock ${path}; is it being started, too?`);
    }
    return await work();
  } finally {
    await file.close();
  }
}
