// Reads, decides and writes as if nobody else did meanwhile: whatever was read is expected unchanged when the writes are
// committed, and all is done again when it is not.
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '../../lib/errors.ts';
import type { LeaseContext } from './lease-context.ts';
import { ABSENT, type Entry, type LeaseStore, type StoreKey } from './lease-store.ts';
import type { RecordKey } from './records.ts';

/** Each meets at least one change of somebody else that succeeded. */
const MOST_ATTEMPTS = 60;
/** Milliseconds to wait after a conflict at most; who waits how long is left to chance. */
const LONGEST_PAUSE_MS = 40;

export class Transaction {
  readonly #store: LeaseStore;
  readonly #read = new Map<StoreKey, Entry | undefined>();
  readonly #written = new Map<StoreKey, string | undefined>();

  constructor(store: LeaseStore) {
    this.#store = store;
  }

  /** Reads the records that were not read before; from then on they must not change until the commit. */
  async load(keys: readonly RecordKey<unknown>[], signal: AbortSignal): Promise<void> {
    const missing = [...new Set(keys.map(({ key }) => key))].filter((key) => !this.#read.has(key));
    if (missing.length === 0) return;
    const found = await this.#store.read(missing, signal);
    for (const key of missing) this.#read.set(key, found.get(key));
  }

  /**
   * The record as it will be after the commit; it must have been loaded.
   * @throws HoldfastError DAMAGED when it is not what it should be
   */
  get<Value>({ key, schema }: RecordKey<Value>): Value | undefined {
    const known = this.#read.get(key);
    if (known === undefined && !this.#read.has(key)) throw new HoldfastError('BUG', `record ${key} was not loaded`);
    const text = this.#written.has(key) ? this.#written.get(key) : known?.value;
    return text === undefined ? undefined : parseRecord(key, schema, text);
  }

  /** A key that nobody decides by need not be loaded. */
  put<Value>({ key }: RecordKey<Value>, value: Value): void {
    this.#written.set(key, JSON.stringify(value));
  }

  delete({ key }: RecordKey<unknown>): void {
    this.#written.set(key, undefined);
  }

  /** Nothing is to be written after all. */
  discard(): void {
    this.#written.clear();
  }

  /**
   * @returns false when it has to be done again
   * @throws UnclearOutcome, or what the store throws
   */
  async commit(signal: AbortSignal): Promise<boolean> {
    if (this.#written.size === 0) return true;
    const expect = new Map([...this.#read].map(([key, entry]) => [key, entry?.version ?? ABSENT] as const));
    try {
      return (await this.#store.commit({ expect, write: this.#written }, signal)) === 'done';
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') throw new UnclearOutcome(error);
      throw error;
    }
  }
}

/** The store could not be asked when the change was to be made: it may have been made. */
export class UnclearOutcome extends HoldfastError {
  constructor(cause: unknown) {
    super('UNAVAILABLE', 'it is not known whether the change of the addresses was made; try again', { cause });
  }
}

class Overtaken extends HoldfastError {
  constructor() {
    super('UNAVAILABLE', 'too many others change the same addresses at the same time; try again');
  }
}

/** Thrown by a transaction's work when what it has read is no longer so: {@link transact} does it again. */
export class StartOver extends Error {
  override readonly name = 'StartOver';
}

/** @throws HoldfastError DAMAGED */
export function parseRecord<Value>(key: StoreKey, schema: RecordKey<Value>['schema'], text: string): Value {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new HoldfastError('DAMAGED', `the record ${key} of the addresses cannot be read`, { cause });
  }
}

/**
 * Does the work until it can be committed.
 * @param work - may be done several times; what it throws ends it, with nothing written, but for {@link StartOver}
 * @throws HoldfastError UNAVAILABLE when others were faster every time, or when the store cannot be asked
 */
export async function transact<Result>(
  store: LeaseStore,
  work: (transaction: Transaction) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt += 1) {
    signal.throwIfAborted();
    const transaction = new Transaction(store);
    try {
      const result = await work(transaction);
      if (await transaction.commit(signal)) return result;
    } catch (error) {
      if (!(error instanceof StartOver)) throw error;
    }
    await delay(Math.random() * Math.min(LONGEST_PAUSE_MS, 2 ** attempt), undefined, { signal });
  }
  throw new Overtaken();
}

/** When nobody had answered, on a clock that is never set; of each host's turns. */
const awayAt = new WeakMap<LeaseContext['turns'], number>();

/**
 * As {@link transact}, after all earlier changes of this host: those of one block would otherwise keep each other from
 * ever getting done when many pods start at once. Only other hosts can be in the way.
 *
 * Those that were waiting when the store was found to be away are not each kept until it is so once more: the lease of a host
 * would be over before the last of its pods was told.
 */
export async function inTurn<Result>(
  { store, turns }: Pick<LeaseContext, 'store' | 'turns'>,
  work: (transaction: Transaction) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  const since = performance.now();
  const inOurTurn = async (): Promise<Result> => {
    if ((awayAt.get(turns) ?? since) > since) {
      throw new HoldfastError('UNAVAILABLE', 'the store of the addresses did not answer those before; try again');
    }
    try {
      return await transact(store, work, signal);
    } catch (error) {
      if (isAway(error) && !signal.aborted) awayAt.set(turns, performance.now());
      throw error;
    }
  };
  return await turns.run('', inOurTurn, signal);
}

/** Not of a single change that failed, which may be the fault of one member of the store that others stand in for. */
const isAway = (error: unknown): boolean =>
  error instanceof HoldfastError &&
  error.code === 'UNAVAILABLE' &&
  !(error instanceof UnclearOutcome || error instanceof Overtaken);
