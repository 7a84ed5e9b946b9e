// The addresses' records of a host that shares them with no other: in the agent's own store, which keeps them durable and in
// a checksummed snapshot. All of them are in memory for reading.
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import { type Change, del, put, type Store, type Table } from '../state/store.ts';
import { checkChange, checkList, checkRead } from './check-request.ts';
import { CommitOrder } from './commit-order.ts';
import {
  ABSENT,
  type Entry,
  type LeaseStore,
  type ListedEntry,
  type ListOptions,
  type StoreChange,
  type StoreKey,
  type Version,
} from './lease-store.ts';
import { SortedKeys } from './sorted-keys.ts';

/** One record of {@link LeaseStore} each. */
export const ADDRESSES: Table<{ readonly value: string }> = {
  name: 'addresses',
  schema: z.object({ value: z.string() }),
};

/**
 * A change is checked when no other is under way that writes what it expects or touches what it writes; then it is
 * committed, and becomes visible when it is durable. Changes of other keys are under way at the same time.
 */
export class EmbeddedLeaseStore implements LeaseStore {
  readonly #store: Store;
  readonly #entries = new Map<StoreKey, Entry>();
  readonly #keys: SortedKeys<StoreKey>;
  readonly #order = new CommitOrder();
  /** Versions are not kept: those of another start of the agent mean nothing, and must not look as if they did. */
  readonly #start = randomUUID();
  #versions = 0;
  readonly #underWay = new Set<Promise<unknown>>();
  #isClosed = false;

  /** Reads the store. @param store - stays its owner's to close */
  constructor(store: Store) {
    this.#store = store;
    for (const [key, { value }] of store.entries(ADDRESSES)) this.#entries.set(key as StoreKey, this.#entry(value));
    this.#keys = new SortedKeys(this.#entries.keys());
  }

  async read(keys: readonly StoreKey[], signal: AbortSignal): Promise<ReadonlyMap<StoreKey, Entry>> {
    this.#requireOpen(signal);
    checkRead(keys);
    const found = new Map<StoreKey, Entry>();
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) found.set(key, entry);
    }
    return found;
  }

  async list(folder: string, { limit, after }: ListOptions, signal: AbortSignal): Promise<readonly ListedEntry[]> {
    this.#requireOpen(signal);
    checkList(folder, limit);
    return this.#keys.below(folder, limit, after).flatMap((key) => {
      const entry = this.#entries.get(key);
      return entry === undefined ? [] : [{ key, ...entry }];
    });
  }

  async commit(change: StoreChange, signal: AbortSignal): Promise<'done' | 'conflict'> {
    this.#requireOpen(signal);
    checkChange(change);
    // The caller may go on with its maps.
    const expect = new Map(change.expect);
    const write = new Map(change.write);
    const committing = this.#order.run(
      { reads: expect.keys(), writes: write.keys() },
      () => this.#checkAndWrite({ expect, write }),
      signal,
    );
    this.#underWay.add(committing);
    try {
      return await committing;
    } finally {
      this.#underWay.delete(committing);
    }
  }

  /** What is under way is finished. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#underWay);
  }

  async #checkAndWrite({ expect, write }: StoreChange): Promise<'done' | 'conflict'> {
    for (const [key, version] of expect) {
      if ((this.#entries.get(key)?.version ?? ABSENT) !== version) return 'conflict';
    }
    const changes = [...write].map(
      ([key, value]): Change => (value === undefined ? del(ADDRESSES, key) : put(ADDRESSES, key, { value })),
    );
    try {
      await this.#store.commit(changes);
    } catch (cause) {
      throw new HoldfastError('UNAVAILABLE', 'the addresses could not be written down; try again', { cause });
    }
    for (const [key, value] of write) this.#apply(key, value);
    return 'done';
  }

  #apply(key: StoreKey, value: string | undefined): void {
    if (value === undefined) {
      this.#entries.delete(key);
      this.#keys.remove(key);
      return;
    }
    this.#entries.set(key, this.#entry(value));
    this.#keys.add(key);
  }

  #entry(value: string): Entry {
    this.#versions += 1;
    return { value, version: `${this.#start}.${this.#versions}` as Version };
  }

  #requireOpen(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#isClosed) throw new HoldfastError('UNAVAILABLE', 'the agent is shutting down; try again');
  }
}
