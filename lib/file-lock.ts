// A lock between processes that the kernel takes back when its holder dies: flock(2), which Node does not have.
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from './errors.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;
const RETRY_MS = 20;

/**
 * Runs `work` while no other process and no other call runs under the same lock.
 * @param path - of the lock file; it is made where it is missing, and stays
 * @param timeoutMs - milliseconds to wait for the lock
 * @throws HoldfastError PRECONDITION when another process holds it for longer than that; what `work` throws
 */
export async function withFileLock<Result>(
  path: string,
  timeoutMs: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const { default: koffi } = await import('koffi');
  const flock = koffi.load(null).func('int flock(int fd, int operation)');
  const file = await open(path, 'a', 0o600);
  try {
    const end = performance.now() + timeoutMs;
    while (Number(flock(file.fd, LOCK_EX | LOCK_NB)) !== 0) {
      if (performance.now() > end) {
        throw new HoldfastError('PRECONDITION', `another process holds the lock ${path}; is it being started, too?`);
      }
      await sleep(RETRY_MS);
    }
    return await work();
  } finally {
    // Closing the file gives the lock back.
    await file.close();
  }
}
