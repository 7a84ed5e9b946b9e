// Ends what waits for nobody any more: addresses kept for pods and apps whose time is over.
import type { Address } from '../model/address.ts';
import { giveBack } from './free-places.ts';
import type { Handover, LeaseContext } from './lease-context.ts';
import { keyParts, type StoreKey } from './lease-store.ts';
import { withoutAddress } from './plan-reserve.ts';
import { type AddressRecord, addressKey, expiryKey, FOLDERS, keptKey, reserveKey } from './records.ts';
import { inTurn, type Transaction } from './transaction.ts';

/** So many at most in one go; the next look goes on. */
const AT_ONCE = 64;

export interface Due {
  readonly key: StoreKey;
  readonly until: number;
  readonly pool: string;
  readonly address: Address;
}

function readDue(key: StoreKey): Due | undefined {
  const [, , until, pool, address] = keyParts(key);
  if (until === undefined || pool === undefined || address === undefined) return undefined;
  return { key, until: Number.parseInt(until, 16), pool, address: address as Address };
}

/** The first of what the host looks after, in the order of the ends. */
export async function listDue({ store }: LeaseContext, host: string, signal: AbortSignal): Promise<readonly Due[]> {
  const listed = await store.list(FOLDERS.expiry(host), { limit: AT_ONCE }, signal);
  return listed.map(({ key }) => readDue(key)).filter((each) => each !== undefined);
}

/**
 * Gives back what this host looks after and whose time is over. What cannot be ended does not keep the rest waiting.
 * @returns whether there may be more
 * @throws HoldfastError what kept the first of those back
 */
export async function expire(context: LeaseContext, signal: AbortSignal): Promise<boolean> {
  const due = await listDue(context, context.host, signal);
  const over = due.filter(({ until }) => until <= context.now());
  const failures: unknown[] = [];
  for (const each of over) {
    try {
      const handover = await inTurn(context, (transaction) => end(context, transaction, each, signal), signal);
      if (handover !== undefined) context.onHandover(handover);
    } catch (error) {
      signal.throwIfAborted();
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return over.length === AT_ONCE;
}

async function end(
  context: LeaseContext,
  transaction: Transaction,
  { until, pool, address }: Due,
  signal: AbortSignal,
): Promise<Handover | undefined> {
  const key = addressKey(pool, address);
  await transaction.load([key], signal);
  transaction.delete(expiryKey(context.host, until, pool, address));
  const state = transaction.get(key)?.state;
  // Whoever got it since has it.
  if (state === undefined || state.kind === 'held' || state.until !== until) return undefined;
  const whose = await forget(transaction, pool, address, state, signal);
  await giveBack(context, transaction, pool, address, context.now() + context.options.cooldown, signal);
  return { address, pool, event: 'freed', detail: 'nobody came back for it in time', ...whose };
}

/** Takes the address out of the record of the pod or app that it waited for. */
export async function forget(
  transaction: Transaction,
  pool: string,
  address: Address,
  state: Exclude<AddressRecord['state'], { kind: 'held' }>,
  signal: AbortSignal,
): Promise<Pick<Handover, 'pod' | 'app'>> {
  if (state.kind === 'kept') {
    const key = keptKey(state.pod, state.network, state.ifname);
    await transaction.load([key], signal);
    const kept = transaction.get(key);
    // The pod may have others by now, of another pool.
    if (kept !== undefined && kept.pool === pool) {
      const addresses = kept.addresses.filter((each) => each !== address);
      if (addresses.length === 0) transaction.delete(key);
      else transaction.put(key, { pool, addresses });
    }
    return { pod: state.pod };
  }
  if (state.kind === 'reserved') {
    const key = reserveKey(state.app, pool);
    await transaction.load([key], signal);
    const { entries } = withoutAddress(transaction.get(key) ?? { entries: [] }, address);
    if (entries.length === 0) transaction.delete(key);
    else transaction.put(key, { entries });
    return { app: state.app };
  }
  return {};
}
