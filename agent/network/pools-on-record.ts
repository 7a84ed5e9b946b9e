// Addresses that are on record under the name of another pool: their subnet was that pool's in an earlier configuration, and
// pods may still have them.
import type { Address } from '../model/address.ts';
import { MAX_READ_KEYS } from './check-request.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyParts, type StoreKey, storeKey } from './lease-store.ts';
import type { Pool } from './pool.ts';
import { addressKey, FOLDERS } from './records.ts';

/** Against a store that never ends. */
const MOST_POOLS = 1024;

/** Those of the addresses that another pool has. Names of pools are looked for once: they change with the configuration. */
export async function onRecordElsewhere(
  context: LeaseContext,
  { name: own }: Pool,
  addresses: readonly Address[],
  signal: AbortSignal,
): Promise<ReadonlySet<Address>> {
  const names = namesOf.get(context) ?? (await poolsOnRecord(context, signal));
  namesOf.set(context, names);
  const asked = names
    .filter((name) => name !== own)
    .flatMap((name) => addresses.map((address) => ({ address, key: addressKey(name, address).key })));
  const found = new Set<Address>();
  for (let from = 0; from < asked.length; from += MAX_READ_KEYS) {
    const page = asked.slice(from, from + MAX_READ_KEYS);
    const entries = await context.store.read(
      page.map(({ key }) => key),
      signal,
    );
    for (const { address, key } of page) if (entries.has(key)) found.add(address);
  }
  return found;
}

const namesOf = new WeakMap<LeaseContext, readonly string[]>();

async function poolsOnRecord({ store }: LeaseContext, signal: AbortSignal): Promise<readonly string[]> {
  const names: string[] = [];
  let after: StoreKey | undefined;
  while (names.length < MOST_POOLS) {
    const [entry] = await store.list(FOLDERS.addresses, { limit: 1, ...(after && { after }) }, signal);
    const name = entry && keyParts(entry.key)[1];
    if (name === undefined) break;
    names.push(name);
    // Behind all addresses of the pool: no character of a key comes after the tilde.
    after = storeKey(FOLDERS.addresses, name, '~');
  }
  return names;
}
