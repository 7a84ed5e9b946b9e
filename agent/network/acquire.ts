// Grants addresses to a sandbox: those that its pod had, else one of its app's reserve, else free ones. All families or
// none, durable before anybody is told.
import { HoldfastError } from '../../lib/errors.ts';
import { type Address, parseAddress } from '../model/address.ts';
import type { PodReference } from '../model/pod.ts';
import type { AttachmentId } from './cni/request.ts';
import { leaveToOthers, likelyKeys, takeFree } from './free-places.ts';
import type { Handover, LeaseContext } from './lease-context.ts';
import { pickEntry, withoutEntry } from './plan-reserve.ts';
import { familiesOf, isUsable, type Pool, type PoolSubnet, subnetOf } from './pool.ts';
import {
  type AddressRecord,
  type AttachmentRecord,
  addressKey,
  attachmentKey,
  expiryKey,
  keptKey,
  type Owner,
  type RecordKey,
  reserveKey,
} from './records.ts';
import { inTurn, type Transaction } from './transaction.ts';

export interface AcquireRequest {
  readonly id: AttachmentId;
  readonly pool: Pool;
  readonly owner: Owner;
  readonly mode: AttachmentRecord['mode'];
  readonly netns: string;
  /** Attachments of this host whose interfaces speak no more: what they hold may be taken over. */
  readonly silenced: readonly AttachmentId[];
}

export interface Grant {
  readonly address: Address;
  readonly subnet: PoolSubnet;
}

export type Acquired =
  /** `isNew`: by this call; else the sandbox had them already, and its interface may be speaking with them. */
  | { readonly kind: 'granted'; readonly grants: readonly Grant[]; readonly isNew: boolean }
  /** The pod's address is still on an earlier sandbox's interface, which has to be silenced first. */
  | { readonly kind: 'silence'; readonly holder: AttachmentId };

/** An address that is not free and may be granted to this pod all the same. */
interface Reused {
  readonly address: Address;
  readonly record: AddressRecord;
  readonly event: Handover['event'];
  readonly detail: string;
}

/**
 * @throws HoldfastError NO_ROOM when the pool has no free address; UNAVAILABLE when another host holds the pod's address,
 *   or when the store cannot be asked
 */
export async function acquire(context: LeaseContext, request: AcquireRequest, signal: AbortSignal): Promise<Acquired> {
  let isAgain = false;
  const attempt = (transaction: Transaction): Promise<Done> => {
    if (isAgain) leaveToOthers(context, request.pool);
    isAgain = true;
    return grant(context, transaction, request, signal);
  };
  const done = await inTurn(context, attempt, signal);
  for (const handover of done.handovers) context.onHandover(handover);
  return done.acquired;
}

interface Done {
  readonly acquired: Acquired;
  readonly handovers: readonly Handover[];
}

async function grant(
  context: LeaseContext,
  transaction: Transaction,
  request: AcquireRequest,
  signal: AbortSignal,
): Promise<Done> {
  const { id, pool, owner, mode, netns } = request;
  const own = attachmentKey(context.host, id);
  await transaction.load([own, ...firstKeys(context, request)], signal);
  const there = transaction.get(own);
  if (there !== undefined) {
    await transaction.load(
      there.addresses.map(({ address }) => addressKey(there.pool, address)),
      signal,
    );
    return { acquired: grantedBefore(context, transaction, id, there), handovers: [] };
  }
  const reused = await reuse(context, transaction, request, signal);
  if ('kind' in reused) return { acquired: reused, handovers: [] };
  const now = context.now();
  const grants: Grant[] = [];
  const addresses: AttachmentRecord['addresses'] = [];
  const handovers: Handover[] = [];
  for (const family of familiesOf(pool)) {
    const former = reused.find(({ address }) => parseAddress(address).family === family);
    const address = former?.address ?? (await takeFree(context, transaction, pool, family, signal));
    const subnet = address && subnetOf(pool, parseAddress(address));
    if (address === undefined || subnet === undefined) {
      throw new HoldfastError(
        'NO_ROOM',
        `pool ${pool.name} has no free IPv${family} address; holdfast ip pools shows who has them, and network.pools in the configuration can be made larger`,
      );
    }
    const generation = (former?.record.generation ?? 0) + 1;
    const state = { kind: 'held', host: context.host, ...id, owner, since: now } as const;
    transaction.put(addressKey(pool.name, address), { generation, state });
    addresses.push({ address, generation });
    grants.push({ address, subnet });
    const { event, detail } = former ?? { event: 'granted' as const, detail: 'it was free' };
    handovers.push({
      address,
      pool: pool.name,
      event,
      detail,
      containerId: id.containerId,
      ...(owner.pod && { pod: owner.pod }),
      ...(owner.app && { app: owner.app }),
    });
  }
  transaction.put(own, { pool: pool.name, addresses, owner, mode, netns, since: now });
  if (owner.ip === 'keep' && owner.pod !== undefined) {
    transaction.put(keptKey(owner.pod, id.network, id.ifname), {
      pool: pool.name,
      addresses: addresses.map(({ address }) => address),
    });
  }
  return { acquired: { kind: 'granted', grants, isNew: true }, handovers };
}

/** What is read in any case, by what the pod asks for: in one call with the rest. */
function firstKeys(context: LeaseContext, { id, pool, owner }: AcquireRequest): readonly RecordKey<unknown>[] {
  if (owner.ip === 'keep' && owner.pod !== undefined) return [keptKey(owner.pod, id.network, id.ifname)];
  if (owner.ip === 'app' && owner.app !== undefined) return [reserveKey(owner.app, pool.name)];
  return likelyKeys(context, pool);
}

/** ADD is asked once more: the agent died before it could answer, or the runtime asks twice. */
function grantedBefore(
  { host, pools }: LeaseContext,
  transaction: Transaction,
  id: AttachmentId,
  { pool: name, addresses }: AttachmentRecord,
): Acquired {
  const pool = pools.get(name);
  const grants = addresses.map(({ address, generation }) => {
    if (!isHeldBy(transaction.get(addressKey(name, address)), host, id, generation)) {
      throw new HoldfastError(
        'PRECONDITION',
        `${address} went from sandbox ${id.containerId} to a later one of its pod; remove the sandbox`,
      );
    }
    const subnet = pool && subnetOf(pool, parseAddress(address));
    if (subnet === undefined) {
      throw new HoldfastError('PRECONDITION', `${address} is no longer in pool ${name} of the configuration`);
    }
    return { address, subnet };
  });
  return { kind: 'granted', grants, isNew: false };
}

async function reuse(
  context: LeaseContext,
  transaction: Transaction,
  request: AcquireRequest,
  signal: AbortSignal,
): Promise<readonly Reused[] | Extract<Acquired, { kind: 'silence' }>> {
  const { owner } = request;
  if (owner.ip === 'keep' && owner.pod !== undefined) return await reuseKept(context, transaction, request, signal);
  if (owner.ip === 'app' && owner.app !== undefined) return await reuseReserved(context, transaction, request, signal);
  return [];
}

const usableIn =
  (pool: Pool) =>
  (address: Address): boolean => {
    const parsed = parseAddress(address);
    const subnet = subnetOf(pool, parsed);
    return subnet !== undefined && isUsable(subnet, parsed);
  };

async function reuseKept(
  context: LeaseContext,
  transaction: Transaction,
  { id, pool, owner, silenced }: AcquireRequest,
  signal: AbortSignal,
): Promise<readonly Reused[] | Extract<Acquired, { kind: 'silence' }>> {
  if (owner.pod === undefined) return [];
  const key = keptKey(owner.pod, id.network, id.ifname);
  await transaction.load([key], signal);
  const kept = transaction.get(key);
  if (kept === undefined || kept.pool !== pool.name) return [];
  const usable = kept.addresses.filter(usableIn(pool));
  await transaction.load(
    usable.map((address) => addressKey(pool.name, address)),
    signal,
  );
  const reused: Reused[] = [];
  for (const address of usable) {
    const record = transaction.get(addressKey(pool.name, address));
    if (record === undefined) continue;
    const { state } = record;
    if (state.kind === 'kept' && isSamePod(state.pod, owner.pod)) {
      transaction.delete(expiryKey(state.host, state.until, pool.name, address));
      reused.push({ address, record, event: 'granted', detail: 'it was kept for the pod' });
    } else if (state.kind === 'held' && state.owner.pod !== undefined && isSamePod(state.owner.pod, owner.pod)) {
      const { network, containerId, ifname } = state;
      const holder: AttachmentId = { network, containerId, ifname };
      if (state.host !== context.host) {
        throw new HoldfastError(
          'UNAVAILABLE',
          `${address} of ${owner.pod.namespace}/${owner.pod.name} is still held on host ${state.host}, which has not given it back; it is tried again`,
        );
      }
      if (!silenced.some((each) => isSameAttachment(each, holder))) return { kind: 'silence', holder };
      reused.push({ address, record, event: 'taken-over', detail: `from the pod's earlier sandbox ${containerId}` });
    }
  }
  return reused;
}

async function reuseReserved(
  context: LeaseContext,
  transaction: Transaction,
  { pool, owner }: AcquireRequest,
  signal: AbortSignal,
): Promise<readonly Reused[]> {
  const { app } = owner;
  if (app === undefined) return [];
  const key = reserveKey(app, pool.name);
  await transaction.load([key], signal);
  const reserve = transaction.get(key);
  const entry = reserve && pickEntry(reserve, context.host, usableIn(pool));
  if (reserve === undefined || entry === undefined) return [];
  const rest = withoutEntry(reserve, entry);
  if (rest.entries.length === 0) transaction.delete(key);
  else transaction.put(key, rest);
  await transaction.load(
    entry.addresses.map((address) => addressKey(pool.name, address)),
    signal,
  );
  const reused: Reused[] = [];
  for (const address of entry.addresses) {
    const record = transaction.get(addressKey(pool.name, address));
    if (record?.state.kind !== 'reserved') continue;
    if (record.state.app.namespace !== app.namespace || record.state.app.name !== app.name) continue;
    transaction.delete(expiryKey(record.state.host, record.state.until, pool.name, address));
    reused.push({ address, record, event: 'granted', detail: `it was in the reserve of ${app.namespace}/${app.name}` });
  }
  return reused;
}

const isSamePod = (one: PodReference, other: PodReference): boolean =>
  one.namespace === other.namespace && one.name === other.name;

/** Whether the address is still that attachment's: nobody has taken it over, nor was it given back. */
export function isHeldBy(
  record: AddressRecord | undefined,
  host: string,
  id: AttachmentId,
  generation: number,
): record is AddressRecord & { readonly state: Extract<AddressRecord['state'], { kind: 'held' }> } {
  if (record?.state.kind !== 'held' || record.generation !== generation) return false;
  return record.state.host === host && isSameAttachment(record.state, id);
}

export const isSameAttachment = (one: AttachmentId, other: AttachmentId): boolean =>
  one.network === other.network && one.containerId === other.containerId && one.ifname === other.ifname;
