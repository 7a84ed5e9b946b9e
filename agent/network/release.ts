// Takes the addresses of a sandbox back: for its pod, into its app's reserve, or to the pool. Only what that very sandbox
// still holds: a late release of an earlier grant frees nothing.
import type { Address } from '../model/address.ts';
import type { PodReference } from '../model/pod.ts';
import { MAX_KEY_BYTES } from './check-request.ts';
import type { AttachmentId } from './cni/request.ts';
import { giveBack, returnKeys } from './free-places.ts';
import type { Handover, LeaseContext } from './lease-context.ts';
import { withEntry } from './plan-reserve.ts';
import {
  type AddressRecord,
  type AppKey,
  type AttachmentRecord,
  addressKey,
  attachmentKey,
  expiryKey,
  type Owner,
  type RecordKey,
  reserveKey,
} from './records.ts';
import { isHeldBy } from './reuse.ts';
import { inTurn, type Transaction } from './transaction.ts';

interface Held {
  readonly address: Address;
  readonly record: { readonly generation: number; readonly state: Extract<AddressRecord['state'], { kind: 'held' }> };
}

/**
 * Its interface must not speak any more. Nothing happens for a sandbox that has nothing.
 * @param isMoved - whether what waits for the pod is to be treated as moved when it comes back
 * @throws HoldfastError UNAVAILABLE when the store cannot be asked
 */
export async function release(
  context: LeaseContext,
  id: AttachmentId,
  signal: AbortSignal,
  isMoved = false,
): Promise<void> {
  const holder = { host: context.host, id, detail: 'its sandbox went', isMoved };
  const handovers = await inTurn(context, (transaction) => takeBack(context, transaction, holder, signal), signal);
  for (const handover of handovers) context.onHandover(handover);
}

export interface Holder {
  readonly host: string;
  readonly id: AttachmentId;
  /** Why it holds its addresses no longer. */
  readonly detail: string;
  /** As {@link release}. */
  readonly isMoved: boolean;
}

/** What becomes of the addresses is looked after by this host. @returns what is to be told when it is durable */
export async function takeBack(
  context: LeaseContext,
  transaction: Transaction,
  { host, id, detail, isMoved }: Holder,
  signal: AbortSignal,
): Promise<readonly Handover[]> {
  const own = attachmentKey(host, id);
  // ADD was refused for it: the names of host, sandbox and network are too long together.
  if (own.key.length > MAX_KEY_BYTES) return [];
  await transaction.load([own], signal);
  const attachment = transaction.get(own);
  if (attachment === undefined) return [];
  const { pool, addresses } = attachment;
  await transaction.load(
    [...addresses.map(({ address }) => addressKey(pool, address)), ...settleKeys(context, attachment)],
    signal,
  );
  const held: Held[] = [];
  for (const { address, generation } of addresses) {
    const record = transaction.get(addressKey(pool, address));
    if (!isHeldBy(record, host, id, generation)) continue;
    held.push({ address, record: { generation, state: record.state } });
  }
  transaction.delete(own);
  if (held.length === 0) return [];
  const told = await settle(context, transaction, attachment, held, isMoved, signal);
  return told.map((handover) => ({ detail, ...handover, containerId: id.containerId }));
}

/** Without a detail of its own it is the holder's. */
type Settled = Omit<Handover, 'detail'> & Partial<Pick<Handover, 'detail'>>;

/** What {@link settle} reads, in one call with the rest. */
function settleKeys(
  context: LeaseContext,
  { pool, owner, addresses }: AttachmentRecord,
): readonly RecordKey<unknown>[] {
  const { ip, pod, app } = owner;
  if (ip === 'keep' && pod !== undefined) return [];
  if (ip === 'app' && app !== undefined) return [reserveKey(app, pool)];
  return addresses.flatMap(({ address }) => returnKeys(context, address));
}

async function settle(
  context: LeaseContext,
  transaction: Transaction,
  { pool, owner }: AttachmentRecord,
  held: readonly Held[],
  isMoved: boolean,
  signal: AbortSignal,
): Promise<readonly Settled[]> {
  const { ip, pod, app } = owner;
  if (ip === 'keep' && pod !== undefined) {
    const waiting = { owner, pod, ...(isMoved && { isMoved }) };
    return keep(context, transaction, pool, waiting, held);
  }
  if (ip === 'app' && app !== undefined) return await reserve(context, transaction, pool, app, held, signal);
  const coolsUntil = context.now() + context.options.cooldown;
  for (const { address } of held) await giveBack(context, transaction, pool, address, coolsUntil, signal);
  return held.map(({ address }) => ({
    address,
    pool,
    event: 'freed',
    ...(pod && { pod }),
  }));
}

function keep(
  { host, now, options }: LeaseContext,
  transaction: Transaction,
  pool: string,
  waiting: { readonly owner: Owner; readonly pod: PodReference; readonly isMoved?: true },
  held: readonly Held[],
): readonly Settled[] {
  const since = now();
  const until = since + options.keepFor;
  for (const { address, record } of held) {
    const { network, ifname } = record.state;
    const state = { kind: 'kept', host, network, ifname, ...waiting, since, until } as const;
    transaction.put(addressKey(pool, address), { generation: record.generation, state });
    transaction.put(expiryKey(host, until, pool, address), {});
  }
  return held.map(({ address }) => ({ address, pool, event: 'kept', pod: waiting.pod }));
}

async function reserve(
  context: LeaseContext,
  transaction: Transaction,
  pool: string,
  app: AppKey,
  held: readonly Held[],
  signal: AbortSignal,
): Promise<readonly Settled[]> {
  const { host, now, options } = context;
  const since = now();
  const until = since + options.reserve.keepFor;
  const key = reserveKey(app, pool);
  await transaction.load([key], signal);
  const entry = { addresses: held.map(({ address }) => address), host, since, until };
  const { record, evicted } = withEntry(transaction.get(key), entry, options.reserve.cap);
  const handovers: Settled[] = [];
  const evictedNow = new Set(evicted.flatMap(({ addresses }) => addresses));
  for (const { address, record: former } of held) {
    if (evictedNow.has(address)) continue;
    const state = { kind: 'reserved', host, app, since, until } as const;
    transaction.put(addressKey(pool, address), { generation: former.generation, state });
    transaction.put(expiryKey(host, until, pool, address), {});
    handovers.push({ address, pool, event: 'reserved', app });
  }
  for (const { addresses, host: evictedHost, until: evictedUntil } of evicted) {
    for (const address of addresses) {
      transaction.delete(expiryKey(evictedHost, evictedUntil, pool, address));
      await giveBack(context, transaction, pool, address, since + options.cooldown, signal);
      handovers.push({ address, pool, event: 'freed', detail: 'the reserve of the app was full', app });
    }
  }
  if (record.entries.length === 0) transaction.delete(key);
  else transaction.put(key, record);
  return handovers;
}
