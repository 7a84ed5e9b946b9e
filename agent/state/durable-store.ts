// The store on disk: all records in memory for reading, every change through to the database before it counts.
import fs from 'node:fs/promises';
import { HoldfastError } from '../../lib/errors.ts';
import type { Database } from './database.ts';
import { checkTable, decodeValue, prepareChanges, QUARANTINE_TABLE } from './prepare-changes.ts';
import { type PlainRecords, type RawChange, type Records, recordsToPlain } from './records.ts';
import { formatSnapshot } from './snapshot.ts';
import { SnapshotKeeper } from './snapshot-keeper.ts';
import type { Change, Store, Table } from './store.ts';
import type { StoreLock } from './store-lock.ts';

/** Quarantined records kept; the oldest go first. */
const MAX_QUARANTINED = 1000;

export interface DurableStoreParts {
  readonly directory: string;
  readonly database: Database;
  readonly lock: StoreLock;
  readonly records: Records;
  /** Number of the last transaction. */
  readonly sequence: number;
  /** Told of what is wrong but stops nothing: quarantined records, a snapshot that cannot be written. */
  readonly onProblem: (error: HoldfastError) => void;
}

interface PendingCommit {
  readonly changes: readonly RawChange[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Made by `openStore`. */
export class DurableStore implements Store {
  readonly #parts: DurableStoreParts;
  readonly #keeper: SnapshotKeeper;
  readonly #queue: PendingCommit[] = [];
  #sequence: number;
  #pumping: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: DurableStoreParts) {
    this.#parts = parts;
    this.#sequence = parts.sequence;
    this.#keeper = new SnapshotKeeper({
      directory: parts.directory,
      format: () => formatSnapshot(parts.records, this.#sequence, Date.now()),
      onProblem: parts.onProblem,
    });
  }

  entries<Value>(table: Table<Value>): ReadonlyMap<string, Value> {
    checkTable(table as unknown as Table<unknown>);
    const entries = new Map<string, Value>();
    for (const [key, json] of this.#parts.records.table(table.name)) {
      const decoded = decodeValue(table, json);
      if (decoded.problem === undefined) entries.set(key, decoded.value);
      else this.#quarantine(table.name, key, json, decoded.problem);
    }
    return entries;
  }

  commit(changes: readonly Change[]): Promise<void> {
    try {
      const prepared = prepareChanges(changes);
      return prepared.length === 0 ? Promise.resolve() : this.#enqueue(prepared);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Every record as plain data, by table and key; for `holdfast state show`. */
  dump(): PlainRecords {
    return recordsToPlain(this.#parts.records);
  }

  /** Finishes what was committed, writes the snapshot and lets go of the directory. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#pumping;
    await this.#keeper.close();
    try {
      await this.#parts.database.close();
    } finally {
      await this.#parts.lock.release();
    }
  }

  #enqueue(changes: readonly RawChange[]): Promise<void> {
    if (this.#closed !== undefined) {
      return Promise.reject(new HoldfastError('UNAVAILABLE', 'the agent is shutting down; try again'));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ changes, resolve, reject });
      this.#pumping ??= this.#pump();
    });
  }

  /** Writes what has gathered while the last transaction was on its way as one transaction: they share its fsync. */
  async #pump(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const group = this.#queue.splice(0);
        if (!(await this.#write(group, group.length === 1))) {
          // One commit that is too large for the disk must not take the others with it.
          for (const single of group) await this.#write([single], true);
        }
      }
    } finally {
      this.#pumping = undefined;
    }
  }

  /** @returns whether the group was settled */
  async #write(group: readonly PendingCommit[], final: boolean): Promise<boolean> {
    const { records, database } = this.#parts;
    const changes = group.flatMap((pending) => pending.changes);
    try {
      await database.write(records, changes, this.#sequence + 1);
    } catch (cause) {
      if (!final) return false;
      const error = await this.#explain(cause);
      for (const pending of group) pending.reject(error);
      return true;
    }
    this.#sequence += 1;
    for (const change of changes) records.apply(change);
    this.#keeper.changed();
    for (const pending of group) pending.resolve();
    return true;
  }

  async #explain(cause: unknown): Promise<HoldfastError> {
    const { directory } = this.#parts;
    let advice = 'see the kernel log';
    try {
      const { bavail } = await fs.statfs(directory);
      if (bavail < 64) advice = 'its file system is full: free some space';
    } catch {
      advice = 'its file system does not answer: see the kernel log';
    }
    return new HoldfastError('HOST_FAILURE', `the state in ${directory} could not be written; ${advice}`, { cause });
  }

  /** Moves a record out of the way of its feature, which goes on without it; it stays readable for people. */
  #quarantine(table: string, key: string, json: string, problem: string): void {
    const { onProblem, records } = this.#parts;
    onProblem(
      new HoldfastError('DAMAGED', `record ${table}/${key} of the state is set aside as it cannot be used: ${problem}`),
    );
    const aside: RawChange[] = [
      {
        table: QUARANTINE_TABLE,
        key: `${table}/${key}`,
        json: JSON.stringify({ at: Date.now(), problem, value: JSON.parse(json) }),
      },
      { table, key },
    ];
    const kept = [...records.table(QUARANTINE_TABLE).keys()];
    for (const oldest of kept.slice(0, Math.max(0, kept.length + 1 - MAX_QUARANTINED))) {
      aside.push({ table: QUARANTINE_TABLE, key: oldest });
    }
    this.#enqueue(aside).catch((cause: unknown) => {
      onProblem(new HoldfastError('HOST_FAILURE', `record ${table}/${key} could not be set aside`, { cause }));
    });
  }
}
