// Takes a free address of a subnet, or gives one back: the work on blocks.
import { type Address, type Family, formatSubnet, parseAddress } from '../model/address.ts';
import { type Found, findRoom } from './find-room.ts';
import type { LeaseContext } from './lease-context.ts';
import { isTaken, roomIn, withFreed, withTaken } from './plan-block.ts';
import { addressAt, familiesOf, type Pool, type PoolSubnet, placeOf, subnetOf, usableOffsets } from './pool.ts';
import { onRecordElsewhere } from './pools-on-record.ts';
import { type AddressRecord, addressKey, type BlockRecord, blockKey, openKey, type RecordKey } from './records.ts';
import { StartOver, type Transaction, transact } from './transaction.ts';

const hintOf = (pool: Pool, { subnet }: PoolSubnet): string => `${pool.name} ${formatSubnet(subnet)}`;

/** Addresses that are asked for in one go when a block is put right. */
const ADDRESSES_AT_ONCE = 32;

/**
 * What {@link takeFree} reads first: loaded together with what is needed anyway it costs no call of its own. Not to be loaded
 * where nothing may have to be taken: what others do to a block would then be in the way of changes that do not touch it.
 */
export function likelyKeys(context: LeaseContext, pool: Pool): readonly RecordKey<unknown>[] {
  return familiesOf(pool).flatMap((family) => {
    const first = pool.subnets.find(({ subnet }) => subnet.family === family);
    const hint = first && context.hints.get(hintOf(pool, first));
    return first === undefined || hint === undefined || hint.isCrowded ? [] : placeKeys(pool, first, hint);
  });
}

/** To be told when a change that took a place was overtaken: others are in the block, and there may be one without them. */
export function leaveToOthers(context: LeaseContext, pool: Pool): void {
  for (const subnet of pool.subnets) {
    const hint = context.hints.get(hintOf(pool, subnet));
    if (hint !== undefined) context.hints.set(hintOf(pool, subnet), { ...hint, isCrowded: true });
  }
}

/**
 * Takes a free address of the family.
 * @returns undefined when the pool has none
 */
export async function takeFree(
  context: LeaseContext,
  transaction: Transaction,
  pool: Pool,
  family: Family,
  signal: AbortSignal,
): Promise<Address | undefined> {
  for (const subnet of pool.subnets.filter((each) => each.subnet.family === family)) {
    const hint = context.hints.get(hintOf(pool, subnet));
    const avoided = hint?.isCrowded === true ? hint.block : undefined;
    const found = hint === undefined || hint.isCrowded ? await findRoom(context, pool, subnet, avoided, signal) : hint;
    if (found === undefined) continue;
    const offset = await takePlace(context, transaction, pool, subnet, found, signal);
    if (offset === undefined) {
      // Somebody took the last place meanwhile.
      context.hints.delete(hintOf(pool, subnet));
      throw new StartOver();
    }
    return addressAt(subnet, found.block, offset);
  }
  return undefined;
}

function placeKeys(
  pool: Pool,
  subnet: PoolSubnet,
  { block, offset }: Found,
): readonly [RecordKey<BlockRecord>, RecordKey<AddressRecord>] {
  return [
    blockKey(pool.name, formatSubnet(subnet.subnet), block),
    addressKey(pool.name, addressAt(subnet, block, offset)),
  ];
}

async function takePlace(
  context: LeaseContext,
  transaction: Transaction,
  pool: Pool,
  subnet: PoolSubnet,
  likely: Found,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { block } = likely;
  await transaction.load(placeKeys(pool, subnet, likely), signal);
  const [key] = placeKeys(pool, subnet, likely);
  const record = transaction.get(key);
  const [offset, ...others] = roomIn(subnet, block, record, context.now()).free;
  if (offset === undefined) return undefined;
  const [, own] = placeKeys(pool, subnet, { block, offset });
  await transaction.load([own], signal);
  // The block knows nothing of addresses that were granted when the subnet had another size, or was another pool's.
  if (
    transaction.get(own) !== undefined ||
    (await onRecordElsewhere(context, pool, [addressAt(subnet, block, offset)], signal)).size > 0
  ) {
    await bookStrangers(context, pool, subnet, block, signal);
    throw new StartOver();
  }
  const next = withTaken(record, offset, context.now());
  transaction.put(key, next);
  if (others.length === 0 && Object.keys(next.cooling).length === 0) {
    transaction.delete(openKey(pool.name, formatSubnet(subnet.subnet), block));
  }
  const [following] = others;
  if (following === undefined) context.hints.delete(hintOf(pool, subnet));
  else context.hints.set(hintOf(pool, subnet), { block, offset: following, isCrowded: false });
  return offset;
}

/** Puts down as taken what is on record as somebody's. */
async function bookStrangers(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  block: bigint,
  signal: AbortSignal,
): Promise<void> {
  const key = blockKey(pool.name, formatSubnet(subnet.subnet), block);
  const offsets = usableOffsets(subnet, block);
  for (let from = 0; from < offsets.length; from += ADDRESSES_AT_ONCE) {
    await transact(
      context.store,
      async (transaction) => {
        const asked = offsets.slice(from, from + ADDRESSES_AT_ONCE).map((offset) => {
          const address = addressAt(subnet, block, offset);
          return { offset, address, own: addressKey(pool.name, address) };
        });
        await transaction.load([key, ...asked.map(({ own }) => own)], signal);
        const elsewhere = await onRecordElsewhere(
          context,
          pool,
          asked.map(({ address }) => address),
          signal,
        );
        const before = transaction.get(key);
        const strangers = asked.filter(
          ({ offset, address, own }) =>
            !isTaken(before, offset) && (transaction.get(own) !== undefined || elsewhere.has(address)),
        );
        if (strangers.length === 0) return;
        transaction.put(
          key,
          strangers.reduce<BlockRecord | undefined>(
            (each, { offset }) => withTaken(each, offset, context.now()),
            before,
          ),
        );
      },
      signal,
    );
  }
}

/**
 * Gives the address back to the pool that has it now, and its record up. What is no longer in the configuration is
 * forgotten.
 * @param coolsUntil - when it may be granted again (milliseconds since the epoch)
 */
export async function giveBack(
  context: LeaseContext,
  transaction: Transaction,
  poolName: string,
  address: Address,
  coolsUntil: number,
  signal: AbortSignal,
): Promise<void> {
  transaction.delete(addressKey(poolName, address));
  const places = placesOf(context, address);
  await transaction.load(
    places.map(({ key }) => key),
    signal,
  );
  for (const { key, open, block, offset, hintKey } of places) {
    transaction.put(key, withFreed(transaction.get(key), offset, coolsUntil, context.now()));
    transaction.put(open, {});
    const hint = context.hints.get(hintKey);
    // The first free place of a block is taken first.
    if (hint?.block === block && offset < hint.offset && coolsUntil <= context.now()) {
      context.hints.set(hintKey, { ...hint, offset });
    }
  }
}

/** What {@link giveBack} reads, to be loaded together with what is needed anyway. */
export function returnKeys(context: LeaseContext, address: Address): readonly RecordKey<unknown>[] {
  return placesOf(context, address).map(({ key }) => key);
}

interface Place {
  readonly key: RecordKey<BlockRecord>;
  readonly open: RecordKey<object>;
  readonly block: bigint;
  readonly offset: number;
  readonly hintKey: string;
}

/** Where the address is in the pools of the configuration. */
function placesOf({ pools }: LeaseContext, address: Address): readonly Place[] {
  const parsed = parseAddress(address);
  return [...pools.values()].flatMap((pool) => {
    const subnet = subnetOf(pool, parsed);
    if (subnet === undefined) return [];
    const name = formatSubnet(subnet.subnet);
    const { block, offset } = placeOf(subnet, parsed.value);
    const [key, open] = [blockKey(pool.name, name, block), openKey(pool.name, name, block)];
    return [{ key, open, block, offset, hintKey: hintOf(pool, subnet) }];
  });
}

/** Whether {@link takeFree} would find one now. */
export async function hasRoom(
  context: LeaseContext,
  pool: Pool,
  family: Family,
  signal: AbortSignal,
): Promise<boolean> {
  for (const subnet of pool.subnets.filter((each) => each.subnet.family === family)) {
    if ((await findRoom(context, pool, subnet, undefined, signal)) !== undefined) return true;
  }
  return false;
}
