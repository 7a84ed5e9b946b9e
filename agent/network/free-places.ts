// Finds a free address of a subnet and takes it, or gives one back: the work on blocks.
import { type Address, type Family, formatSubnet, parseAddress } from '../model/address.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyParts, type StoreKey } from './lease-store.ts';
import { isTaken, roomIn, withFreed, withTaken } from './plan-block.ts';
import {
  addressAt,
  familiesOf,
  layoutOf,
  nthBlock,
  type Pool,
  type PoolSubnet,
  placeOf,
  subnetOf,
  usableOffsets,
} from './pool.ts';
import { onRecordElsewhere } from './pools-on-record.ts';
import {
  type AddressRecord,
  addressKey,
  type BlockRecord,
  blockKey,
  FOLDERS,
  openKey,
  type RecordKey,
  subnetKey,
} from './records.ts';
import { StartOver, type Transaction, transact } from './transaction.ts';

/** Open blocks that are listed in one go. */
const PAGE = 64;
/** Of those as many are read in one go: mostly the first of them has room. */
const LOOKED_AT_ONCE = 8;
/** Blocks that are looked at when a new one is begun, for those that the ranges of another time have filled. */
const NEW_AT_ONCE = 16;

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

/** A block, and one of its places that were free just now. */
interface Found {
  readonly block: bigint;
  readonly offset: number;
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

/** @param avoided - a block that others are in: taken only when there is no other */
async function findRoom(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  avoided: bigint | undefined,
  signal: AbortSignal,
): Promise<Found | undefined> {
  return (
    (await findOpen(context, pool, subnet, avoided, signal)) ??
    (await beginBlock(context, pool, subnet, signal)) ??
    (avoided === undefined ? undefined : await withRoom(context, pool, subnet, [avoided], signal))
  );
}

async function findOpen(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  avoided: bigint | undefined,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const folder = FOLDERS.open(pool.name, formatSubnet(subnet.subnet));
  let after: StoreKey | undefined;
  for (;;) {
    const open = await context.store.list(folder, { limit: PAGE, ...(after && { after }) }, signal);
    const blocks = open.map(({ key }) => BigInt(`0x${keyParts(key).at(-1) ?? '0'}`));
    const others = inAnyOrder(blocks.filter((block) => block !== avoided));
    for (let from = 0; from < others.length; from += LOOKED_AT_ONCE) {
      const found = await withRoom(context, pool, subnet, others.slice(from, from + LOOKED_AT_ONCE), signal);
      if (found !== undefined) return found;
    }
    after = open.at(-1)?.key;
    if (open.length < PAGE) return undefined;
  }
}

/** Beginning anywhere: hosts that all took the first would all be in each other's way. */
function inAnyOrder(blocks: readonly bigint[]): readonly bigint[] {
  const start = Math.floor(Math.random() * blocks.length);
  return [...blocks.slice(start), ...blocks.slice(0, start)];
}

async function withRoom(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  blocks: readonly bigint[],
  signal: AbortSignal,
): Promise<Found | undefined> {
  if (blocks.length === 0) return undefined;
  return await transact(
    context.store,
    async (look) => {
      const keys = blocks.map((block) => blockKey(pool.name, formatSubnet(subnet.subnet), block));
      await look.load(keys, signal);
      for (const [index, key] of keys.entries()) {
        const block = blocks[index] ?? 0n;
        const [offset] = roomIn(subnet, block, look.get(key), context.now()).free;
        if (offset !== undefined) return { block, offset };
      }
      return undefined;
    },
    signal,
  );
}

/** Opens the next block that was never looked at. @returns undefined when there is none left */
async function beginBlock(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const name = formatSubnet(subnet.subnet);
  // Counted anew when the ranges change: which block is the how-maniest depends on them.
  const begunKey = subnetKey(pool.name, layoutOf(subnet));
  for (;;) {
    const result = await transact(
      context.store,
      async (transaction) => {
        await transaction.load([begunKey], signal);
        const begun = transaction.get(begunKey)?.begun ?? 0;
        const candidates = Array.from({ length: NEW_AT_ONCE }, (_, index) => nthBlock(subnet, begun + index));
        const blocks = candidates.filter((block) => block !== undefined);
        if (blocks.length === 0) return { found: undefined, isLast: true };
        const keys = blocks.map((block) => blockKey(pool.name, name, block));
        await transaction.load(keys, signal);
        for (const [index, block] of blocks.entries()) {
          const key = keys[index];
          const [offset] = key === undefined ? [] : roomIn(subnet, block, transaction.get(key), context.now()).free;
          if (offset === undefined) continue;
          transaction.put(begunKey, { begun: begun + index + 1 });
          transaction.put(openKey(pool.name, name, block), {});
          return { found: { block, offset }, isLast: false };
        }
        transaction.put(begunKey, { begun: begun + blocks.length });
        return { found: undefined, isLast: false };
      },
      signal,
    );
    if (result.found !== undefined || result.isLast) return result.found;
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
