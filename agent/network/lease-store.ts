// Where the addresses' records are, whether one host has them or several share them: small texts under keys, changed by
// compare-and-swap. All rules about addresses are above this interface, so that they are the same on every store.
import type { Brand } from '../../lib/brand.ts';

/** `folder/…/name`; no part is empty or has a slash of its own (see {@link storeKey}). */
export type StoreKey = Brand<string, 'StoreKey'>;

/** Tells one content of a key from every other it has had or will have; only equality means something. */
export type Version = Brand<string, 'Version'>;

/** The version of a key that is not there. */
export const ABSENT = '' as Version;

export interface Entry {
  /** JSON, at most {@link MAX_VALUE_BYTES} long. */
  readonly value: string;
  readonly version: Version;
}

export interface ListedEntry extends Entry {
  readonly key: StoreKey;
}

export interface ListOptions {
  /** At most so many, in the order of the keys' bytes. */
  readonly limit: number;
  /** Only keys behind this one. */
  readonly after?: StoreKey;
}

/** All of it or nothing. */
export interface StoreChange {
  /** What must still be as it was read: {@link ABSENT} for a key that must not be there. */
  readonly expect: ReadonlyMap<StoreKey, Version>;
  /** undefined removes the key. */
  readonly write: ReadonlyMap<StoreKey, string | undefined>;
}

export const MAX_VALUE_BYTES = 64 * 1024;
/** Of one change: expectations and writes each. etcd takes 128 operations by default. */
export const MAX_CHANGE_KEYS = 64;

export interface LeaseStore {
  /** What is under the keys, all at one moment; keys that are not there are absent. */
  read(keys: readonly StoreKey[], signal: AbortSignal): Promise<ReadonlyMap<StoreKey, Entry>>;

  /** What is directly and indirectly below the folder, all at one moment. */
  list(folder: string, options: ListOptions, signal: AbortSignal): Promise<readonly ListedEntry[]>;

  /**
   * Durable when it resolves.
   * @returns `conflict` when something is not as expected; nothing has changed then
   * @throws HoldfastError UNAVAILABLE when the store cannot be asked, or when it is not known whether the change was made
   */
  commit(change: StoreChange, signal: AbortSignal): Promise<'done' | 'conflict'>;

  close(): Promise<void>;
}

/**
 * A key from its parts, each of which may be any text that is not empty: what could be mistaken for structure is encoded
 * with percent signs.
 */
export function storeKey(...parts: readonly [string, string, ...string[]]): StoreKey {
  return parts.map(encodeURIComponent).join('/') as StoreKey;
}

/** The parts that {@link storeKey} was given. */
export function keyParts(key: StoreKey): readonly string[] {
  return key.split('/').map(decodeURIComponent);
}
