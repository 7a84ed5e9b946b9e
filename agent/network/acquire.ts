// Grants addresses to a sandbox: those that its pod had, else one of its app's reserve, else free ones. All families or
// none, durable before anybody is told.
import { HoldfastError } from '../../lib/errors.ts';
import { type Address, parseAddress } from '../model/address.ts';
import type { AttachmentId } from './cni/request.ts';
import { leaveToOthers, likelyKeys, takeFree } from './free-places.ts';
import { type Handover, type LeaseContext, whose } from './lease-context.ts';
import { familiesOf, type PoolSubnet, subnetOf } from './pool.ts';
import { type AttachmentRecord, addressKey, attachmentKey, keptKey, type RecordKey, reserveKey } from './records.ts';
import { type AcquireRequest, isHeldBy, noteKept, type Obstacle, reuse } from './reuse.ts';
import { inTurn, type Transaction } from './transaction.ts';

export interface Grant {
  readonly address: Address;
  readonly subnet: PoolSubnet;
}

export interface Granted {
  readonly kind: 'granted';
  readonly grants: readonly Grant[];
  /** What is on record for the sandbox now. */
  readonly record: AttachmentRecord;
  /** By this call; else the sandbox had them already, and its interface may be speaking with them. */
  readonly isNew: boolean;
  /** Not surely those that this pod had on this host before: somebody outside may have taken them since. */
  readonly isChanged: boolean;
  /** Perhaps from another host: neighbours may look for them there. */
  readonly isMoved: boolean;
}

export type Acquired = Granted | Obstacle;

/**
 * @throws HoldfastError NO_ROOM when the pool has no free address; UNAVAILABLE when the store cannot be asked
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
      ...whose(owner),
    });
  }
  const record = { pool: pool.name, addresses, owner, mode, netns, since: now };
  transaction.put(own, record);
  noteKept(transaction, id, record);
  const isMoved = reused.some(
    ({ record: { state } }) => state.host !== context.host || (state.kind === 'kept' && state.isMoved === true),
  );
  const isChanged = isMoved || owner.ip !== 'keep' || reused.length < grants.length;
  return { acquired: { kind: 'granted', grants, record, isNew: true, isChanged, isMoved }, handovers };
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
  record: AttachmentRecord,
): Acquired {
  const { pool: name, addresses } = record;
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
  return { kind: 'granted', grants, record, isNew: false, isChanged: true, isMoved: true };
}
