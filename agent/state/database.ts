// The database file and its keeper: replaced by a fresh one when damaged, started again when it fails while the agent
// runs.
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import { Keeper } from './keeper.ts';
import { DATABASE_FILE, type DatabaseContent } from './lmdb-file.ts';
import { digestAfter, type RawChange, type Records } from './records.ts';
import type { StoreLock } from './store-lock.ts';

const DAMAGED_PREFIX = 'damaged-';
const DAMAGED_KEPT = 3;

export interface DatabaseOptions {
  readonly directory: string;
  /** Held by the caller as long as the database is open. */
  readonly lock: StoreLock;
  readonly onProblem: (error: HoldfastError) => void;
}

export class Database {
  readonly #options: DatabaseOptions;
  #keeper: Keeper | undefined;
  #empty = false;

  constructor(options: DatabaseOptions) {
    this.#options = options;
  }

  /** Starts the keeper. Unless the content is `intact`, {@link replace} must follow. */
  async start(): Promise<DatabaseContent> {
    await this.close();
    const { keeper, content } = await Keeper.start(this.#options.directory, this.#options.lock);
    this.#keeper = keeper;
    this.#empty = content.kind === 'absent';
    return content;
  }

  /**
   * Writes all records as one transaction into a fresh file; one that had something in it is set aside.
   * @param sequence - number of the transaction that holds the records
   * @throws HoldfastError HOST_FAILURE when the disk refuses
   */
  async replace(records: Records, sequence: number): Promise<void> {
    if (!this.#empty) {
      await this.close();
      await setAside(this.#options.directory);
      await this.start();
    }
    await this.#started().write({ changes: [...records.all()], meta: { sequence, ...records.digest } });
    this.#empty = false;
  }

  /**
   * Writes one transaction; durable when it resolves. Where the keeper has ended it is started again, on a file
   * written anew from memory if that which it left is not what memory says.
   * @param records - as they are without the changes
   * @param sequence - number of this transaction
   * @throws HoldfastError HOST_FAILURE when the disk refuses: nothing was written
   */
  async write(records: Records, changes: readonly RawChange[], sequence: number): Promise<void> {
    const request = { changes, meta: { sequence, ...digestAfter(records, changes) } };
    const keeper = this.#keeper;
    if (keeper !== undefined) {
      try {
        await keeper.write(request);
        return;
      } catch (error) {
        if (!keeper.hasEnded) throw error;
      }
    }
    const content = await this.start();
    const how = content.kind === 'intact' ? `at transaction ${content.sequence}` : content.kind;
    const done = content.kind === 'intact' && content.sequence === sequence;
    const untouched = content.kind === 'intact' && content.sequence === sequence - 1;
    const message = `the process that keeps the state had to be started again; the database was found ${how}`;
    this.#options.onProblem(new HoldfastError('HOST_FAILURE', message));
    if (done) return;
    if (!untouched) await this.replace(records, sequence - 1);
    await this.#started().write(request);
  }

  #started(): Keeper {
    if (this.#keeper === undefined) throw new HoldfastError('HOST_FAILURE', 'the database cannot be opened');
    return this.#keeper;
  }

  async close(): Promise<void> {
    await this.#keeper?.close();
    this.#keeper = undefined;
  }
}

/** Keeps the file for people to look at, and no more than three of them. */
async function setAside(directory: string): Promise<void> {
  const file = path.join(directory, DATABASE_FILE);
  const stamp = new Date().toISOString().replaceAll(/[-:.]/g, '');
  try {
    await fs.rename(file, path.join(directory, `${DAMAGED_PREFIX}${stamp}`));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    throw error;
  }
  const names = (await fs.readdir(directory)).filter((name) => name.startsWith(DAMAGED_PREFIX)).sort();
  for (const name of names.slice(0, -DAMAGED_KEPT)) {
    await fs.rm(path.join(directory, name), { recursive: true, force: true });
  }
}
