// Which addresses a pod gets again: those that it had, on whatever sandbox or host, else those of its app's reserve.
import { type Address, parseAddress } from '../model/address.ts';
import type { PodReference } from '../model/pod.ts';
import type { AttachmentId } from './cni/request.ts';
import type { Handover, LeaseContext } from './lease-context.ts';
import { pickEntry, withoutEntry } from './plan-reserve.ts';
import { isUsable, type Pool, subnetOf } from './pool.ts';
import {
  type AddressRecord,
  type AttachmentRecord,
  addressKey,
  expiryKey,
  hostKey,
  keptKey,
  type Owner,
  reserveKey,
} from './records.ts';
import type { Transaction } from './transaction.ts';

export interface AcquireRequest {
  readonly id: AttachmentId;
  readonly pool: Pool;
  readonly owner: Owner;
  readonly mode: AttachmentRecord['mode'];
  readonly netns: string;
  /** Attachments of this host whose interfaces speak no more: what they hold may be taken over. */
  readonly silenced: readonly AttachmentId[];
}

/** An address that is not free and may be granted to this pod all the same. */
export interface Reused {
  readonly address: Address;
  readonly record: AddressRecord;
  readonly event: Handover['event'];
  readonly detail: string;
}

/** Another host holds the pod's address. */
export interface Elsewhere {
  readonly kind: 'elsewhere';
  readonly host: string;
  readonly address: Address;
  /** Milliseconds until it may be taken over, since that host has no lease any more; undefined: it has one. */
  readonly waitMs: number | undefined;
}

/** Why nothing is granted now. */
export type Obstacle =
  /** The pod's address is still on an earlier sandbox's interface, which has to be silenced first. */
  { readonly kind: 'silence'; readonly holder: AttachmentId } | Elsewhere;

export async function reuse(
  context: LeaseContext,
  transaction: Transaction,
  request: AcquireRequest,
  signal: AbortSignal,
): Promise<readonly Reused[] | Obstacle> {
  const { owner } = request;
  if (owner.ip === 'keep' && owner.pod !== undefined) return await reuseKept(context, transaction, request, signal);
  if (owner.ip === 'app' && owner.app !== undefined) return await reuseReserved(context, transaction, request, signal);
  return [];
}

/** Notes what the pod has, where it keeps its addresses, so that its next life finds them. */
export function noteKept(
  transaction: Transaction,
  { network, ifname }: AttachmentId,
  { pool, owner, addresses }: Pick<AttachmentRecord, 'pool' | 'owner' | 'addresses'>,
): void {
  if (owner.ip !== 'keep' || owner.pod === undefined) return;
  transaction.put(keptKey(owner.pod, network, ifname), {
    pool,
    addresses: addresses.map(({ address }) => address),
  });
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
): Promise<readonly Reused[] | Obstacle> {
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
        const waitMs = await lookAtHost(context, transaction, state.host, signal);
        if (waitMs !== 0) return { kind: 'elsewhere', host: state.host, address, waitMs };
        reused.push({ address, record, event: 'taken-over', detail: `from host ${state.host}, which lost its lease` });
        continue;
      }
      if (!silenced.some((each) => isSameAttachment(each, holder))) return { kind: 'silence', holder };
      reused.push({ address, record, event: 'taken-over', detail: `from the pod's earlier sandbox ${containerId}` });
    }
  }
  return reused;
}

/**
 * @returns as {@link OtherHosts.waitFor}; what is granted upon it is granted only if that host still has no lease then
 */
async function lookAtHost(
  { otherHosts }: LeaseContext,
  transaction: Transaction,
  host: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const key = hostKey(host);
  await transaction.load([key], signal);
  return otherHosts?.waitFor(host, transaction.get(key) !== undefined);
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
