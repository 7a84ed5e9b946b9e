// The reserve of an app: which of its addresses a new pod gets, and which is given up when there are too many. Pure.
import type { Address } from '../model/address.ts';
import type { ReserveRecord } from './records.ts';

export type ReserveEntry = ReserveRecord['entries'][number];

/**
 * The entry for a pod on this host: the most recent of those that were given back here, for neighbours still know the way
 * to them; else the most recent of all.
 * @param isUsable - whether the pool still has the address
 */
export function pickEntry(
  { entries }: ReserveRecord,
  host: string,
  isUsable: (address: Address) => boolean,
): ReserveEntry | undefined {
  const usable = entries.filter(({ addresses }) => addresses.every(isUsable)).toReversed();
  return usable.find((entry) => entry.host === host) ?? usable[0];
}

export function withoutEntry({ entries }: ReserveRecord, entry: ReserveEntry): ReserveRecord {
  return { entries: entries.filter((each) => each !== entry) };
}

/** Each costs a change of the store some keys, and a change has a limit: after the cap was lowered, the rest goes later. */
const MOST_EVICTED = 4;

/** The record with the entry, and the oldest of those that are too many. */
export function withEntry(
  record: ReserveRecord | undefined,
  entry: ReserveEntry,
  cap: number,
): { readonly record: ReserveRecord; readonly evicted: readonly ReserveEntry[] } {
  const entries = [...(record?.entries ?? []), entry];
  const surplus = Math.min(MOST_EVICTED, Math.max(0, entries.length - cap));
  return { record: { entries: entries.slice(surplus) }, evicted: entries.slice(0, surplus) };
}

/** The record without one address; an entry that has no other goes with it. */
export function withoutAddress({ entries }: ReserveRecord, address: Address): ReserveRecord {
  return {
    entries: entries
      .map((entry) => ({ ...entry, addresses: entry.addresses.filter((each) => each !== address) }))
      .filter(({ addresses }) => addresses.length > 0),
  };
}
