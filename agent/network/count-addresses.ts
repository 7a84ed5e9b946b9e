// How many addresses wait or are in use, and how many reserves there are, by the records of an agent that does not run. Pure.
import { z } from 'zod';
import type { Address } from '../model/address.ts';
import { keyParts, type StoreKey } from './lease-store.ts';
import { addressKey, FOLDERS, reserveKey } from './records.ts';

export interface AddressCounts {
  /** Sandboxes have them. */
  readonly held: number;
  /** They wait for pods of their names. */
  readonly kept: number;
  /** They wait in reserves of apps. */
  readonly reserved: number;
  /** Apps that have a reserve, in one pool each. */
  readonly reserves: number;
}

export const NO_ADDRESSES: AddressCounts = { held: 0, kept: 0, reserved: 0, reserves: 0 };

const recordSchema = z.object({ value: z.string() });

/** What is under the key; undefined for what cannot be read: nobody could go on with it either. */
function readValue<Value>(schema: z.ZodType<Value>, record: unknown): Value | undefined {
  const text = recordSchema.safeParse(record);
  if (!text.success) return undefined;
  try {
    return schema.safeParse(JSON.parse(text.data.value)).data;
  } catch {
    return undefined;
  }
}

/** @param records - of the store's table of addresses, by key */
export function countAddresses(records: Readonly<Record<string, unknown>>): AddressCounts {
  const counts = { ...NO_ADDRESSES };
  for (const [key, record] of Object.entries(records)) {
    const [folder, first = '', second = '', third = ''] = keyParts(key as StoreKey);
    if (folder === FOLDERS.addresses) {
      const kind = readValue(addressKey(first, second as Address).schema, record)?.state.kind;
      if (kind === 'held' || kind === 'kept' || kind === 'reserved') counts[kind] += 1;
    } else if (folder === FOLDERS.reserves) {
      const { schema } = reserveKey({ namespace: first, name: second }, third);
      counts.reserves += (readValue(schema, record)?.entries.length ?? 0) > 0 ? 1 : 0;
    }
  }
  return counts;
}
