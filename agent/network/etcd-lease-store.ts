// The addresses' records that several hosts share, in etcd. Every change of a host that holds a lease is made only if the
// lease still is this host's in etcd at that moment, so that a host that comes back late can change nothing.
import { HoldfastError } from '../../lib/errors.ts';
import type { EtcdKeyValues } from '../cluster/etcd/key-values.ts';
import { checkChange, checkList, checkRead } from './check-request.ts';
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

/** The host's lease, as far as its changes depend on it. */
export interface CommitFence {
  /**
   * What must be in etcd for a change to be made.
   * @throws HoldfastError UNAVAILABLE while this host has no lease
   */
  proof(): { readonly key: string; readonly value: string };
  /** That was not in etcd. */
  refuted(proof: { readonly value: string }): void;
}

export interface EtcdLeaseStoreParts {
  readonly keyValues: Pick<EtcdKeyValues, 'read' | 'list' | 'commit'>;
  /** undefined: changes are made whoever has a lease, as an operator's command does. */
  readonly fence: CommitFence | undefined;
  /** Ends the connection to etcd. */
  readonly close: () => void;
}

const ABSENT_REVISION = 0n;

/** @returns undefined for a version that is none of etcd's, and so not that of any content here */
function revisionOf(version: Version): bigint | undefined {
  if (version === ABSENT) return ABSENT_REVISION;
  return /^[1-9]\d{0,18}$/.test(version) ? BigInt(version) : undefined;
}

const versionOf = (revision: bigint): Version => revision.toString() as Version;

export class EtcdLeaseStore implements LeaseStore {
  readonly #parts: EtcdLeaseStoreParts;

  constructor(parts: EtcdLeaseStoreParts) {
    this.#parts = parts;
  }

  /** One call. */
  async read(keys: readonly StoreKey[], signal: AbortSignal): Promise<ReadonlyMap<StoreKey, Entry>> {
    signal.throwIfAborted();
    checkRead(keys);
    const found = await this.#parts.keyValues.read([...new Set(keys)], signal);
    return new Map(
      [...found].map(([key, { value, revision }]) => [key as StoreKey, { value, version: versionOf(revision) }]),
    );
  }

  /** One call for each 200 keys. */
  async list(folder: string, options: ListOptions, signal: AbortSignal): Promise<readonly ListedEntry[]> {
    signal.throwIfAborted();
    checkList(folder, options.limit);
    const found = await this.#parts.keyValues.list(folder, options, signal);
    return found.map(({ key, value, revision }) => ({ key: key as StoreKey, value, version: versionOf(revision) }));
  }

  /** One call. */
  async commit({ expect, write }: StoreChange, signal: AbortSignal): Promise<'done' | 'conflict'> {
    signal.throwIfAborted();
    checkChange({ expect, write });
    const revisions = new Map<string, bigint>();
    for (const [key, version] of expect) {
      const revision = revisionOf(version);
      if (revision === undefined) return 'conflict';
      revisions.set(key, revision);
    }
    const { keyValues, fence } = this.#parts;
    const held = fence?.proof();
    const change = { expect: revisions, write, ...(held === undefined ? {} : { held }) };
    const outcome = await keyValues.commit(change, signal);
    if (outcome !== 'not held') return outcome;
    if (held !== undefined) fence?.refuted(held);
    throw new HoldfastError(
      'UNAVAILABLE',
      'this host has lost its lease in etcd, and changes nothing until it has another; try again',
    );
  }

  close(): Promise<void> {
    this.#parts.close();
    return Promise.resolve();
  }
}
