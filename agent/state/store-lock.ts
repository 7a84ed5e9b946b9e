// One process at a time in a store's directory; the keeper of an agent that was killed still counts.
import path from 'node:path';
import { HoldfastError } from '../../lib/errors.ts';
import { openLocked } from '../../lib/file-lock.ts';

const LOCK_FILE = 'lock';

/** The keeper of an agent that was killed finishes its transaction before it lets go. */
const WAIT_MS = 3000;

export interface StoreLock {
  /** Open file that carries the lock; a child that inherits it holds the lock too. */
  readonly fd: number;
  release(): Promise<void>;
}

/**
 * Takes the lock of a store's directory.
 * @param waitMs - milliseconds that another holder may have to let go
 * @throws HoldfastError PRECONDITION when another process has it and keeps it
 */
export async function lockStore(directory: string, waitMs = WAIT_MS): Promise<StoreLock> {
  const { file, isHeld } = await openLocked(path.join(directory, LOCK_FILE), waitMs);
  try {
    if (!isHeld) {
      const holder = (await file.readFile('utf8')).trim();
      const who = /^\d+$/.test(holder) ? ` by process ${holder}` : '';
      throw new HoldfastError('PRECONDITION', `${directory} is in use${who}; stop the agent that runs there first`);
    }
    await file.truncate();
    await file.writeFile(`${process.pid}\n`);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { fd: file.fd, release: () => file.close() };
}
