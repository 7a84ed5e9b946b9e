// One process at a time: an flock that the kernel drops when its holders die, however they die.
import fs from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import koffi from 'koffi';
import { HoldfastError } from '../../lib/errors.ts';

const LOCK_EXCLUSIVE = 2;
const LOCK_NON_BLOCKING = 4;

const LOCK_FILE = 'lock';

/** The keeper of an agent that was killed finishes its transaction before it lets go. */
const WAIT_MS = 3000;
const POLL_MS = 50;

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
  const flock = koffi.load(null).func('int flock(int fd, int operation)');
  const handle = await fs.open(path.join(directory, LOCK_FILE), 'a+', 0o600);
  try {
    const giveUp = Date.now() + waitMs;
    while (Number(flock(handle.fd, LOCK_EXCLUSIVE | LOCK_NON_BLOCKING)) !== 0) {
      if (Date.now() >= giveUp) {
        const holder = (await handle.readFile('utf8')).trim();
        const who = /^\d+$/.test(holder) ? ` by process ${holder}` : '';
        throw new HoldfastError('PRECONDITION', `${directory} is in use${who}; stop the agent that runs there first`);
      }
      await delay(POLL_MS);
    }
    await handle.truncate();
    await handle.writeFile(`${process.pid}\n`);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return { fd: handle.fd, release: () => handle.close() };
}
