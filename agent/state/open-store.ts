// Opens the store of a directory: locks it, has the keeper process read it, and recovers it where it is damaged.
import fs from 'node:fs/promises';
import { HoldfastError } from '../../lib/errors.ts';
import { Database } from './database.ts';
import { DurableStore } from './durable-store.ts';
import { planRecovery, type StoreRecovery } from './plan-recovery.ts';
import { Records } from './records.ts';
import { formatSnapshot, readSnapshot, writeSnapshot } from './snapshot.ts';
import { lockStore, type StoreLock } from './store-lock.ts';

export interface OpenStoreOptions {
  /** Made when it is missing; its parents too. */
  readonly directory: string;
  /** Told of what is wrong but stops nothing. */
  readonly onProblem: (error: HoldfastError) => void;
}

export interface OpenedStore {
  readonly store: DurableStore;
  /** Absent when nothing was lost. */
  readonly recovery?: StoreRecovery;
}

/**
 * Opens the store, whatever state its files are in.
 * @throws HoldfastError PRECONDITION when another process has it; HOST_FAILURE when the disk refuses
 */
export async function openStore(options: OpenStoreOptions): Promise<OpenedStore> {
  const { directory } = options;
  try {
    await fs.mkdir(directory, { recursive: true, mode: 0o700 });
    await fs.chmod(directory, 0o700);
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', `the state directory ${directory} cannot be prepared`, { cause });
  }
  const lock = await lockStore(directory);
  const database = new Database({ ...options, lock });
  try {
    return await openLocked(options, lock, database);
  } catch (error) {
    await database.close();
    await lock.release();
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('HOST_FAILURE', `the state in ${directory} cannot be opened`, { cause: error });
  }
}

async function openLocked(options: OpenStoreOptions, lock: StoreLock, database: Database): Promise<OpenedStore> {
  const { directory } = options;
  const plan = planRecovery(await database.start(), await readSnapshot(directory), Date.now());
  const records = new Records(plan.records);
  if (plan.rewrite) {
    await database.replace(records, plan.sequence);
    // Its number must not be above the fresh database's, which would look as if that one had lost transactions.
    await writeSnapshot(directory, formatSnapshot(records, plan.sequence, Date.now()));
  }
  const store = new DurableStore({ ...options, lock, database, records, sequence: plan.sequence });
  return plan.recovery === undefined ? { store } : { store, recovery: plan.recovery };
}
