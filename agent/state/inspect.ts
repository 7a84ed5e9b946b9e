// Reads the store of an agent that does not run, without changing it.
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../lib/errors.ts';
import { Keeper } from './keeper.ts';
import { DATABASE_FILE, type DatabaseContent } from './lmdb-file.ts';
import { planRecovery, type StoreRecovery } from './plan-recovery.ts';
import { type PlainRecords, Records, recordsToPlain } from './records.ts';
import { readSnapshot, SNAPSHOT_FILE } from './snapshot.ts';
import { lockStore, type StoreLock } from './store-lock.ts';

export interface InspectedStore {
  readonly records: PlainRecords;
  /** What the agent would recover at its next start; absent when the store is in order. */
  readonly recovery?: StoreRecovery;
}

/**
 * @param directory - that holds the database or its snapshot
 * @throws HoldfastError NOT_FOUND when there is no store, PRECONDITION while an agent uses it
 */
export async function inspectStore(directory: string): Promise<InspectedStore> {
  const hasDatabase = await exists(path.join(directory, DATABASE_FILE));
  if (!hasDatabase && !(await exists(path.join(directory, SNAPSHOT_FILE)))) {
    throw new HoldfastError('NOT_FOUND', `${directory} holds no state of an agent`);
  }
  const lock = await lockStore(directory, 0);
  try {
    const database = hasDatabase ? await readDatabase(directory, lock) : ({ kind: 'absent' } as const);
    const { records, recovery } = planRecovery(database, await readSnapshot(directory), Date.now());
    const plain = recordsToPlain(new Records(records));
    return recovery === undefined ? { records: plain } : { records: plain, recovery };
  } finally {
    await lock.release();
  }
}

async function readDatabase(directory: string, lock: StoreLock): Promise<DatabaseContent> {
  const { keeper, content } = await Keeper.start(directory, lock);
  await keeper?.close();
  return content;
}

async function exists(file: string): Promise<boolean> {
  return (await fs.lstat(file).catch(() => undefined)) !== undefined;
}
