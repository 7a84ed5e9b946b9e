// Finds a free address of a subnet and takes it, or gives one back: the work on blocks.
import { type Address, type Family, formatSubnet, parseAddress } from '../model/address.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyParts, type StoreKey } from './lease-store.ts';
import { roomIn, withFreed, withTaken } from './plan-block.ts';
import { addressAt, layoutOf, nthBlock, type Pool, type PoolSubnet, placeOf, subnetOf } from './pool.ts';
import { addressKey, blockKey, FOLDERS, openKey, subnetKey } from './records.ts';
import { type Transaction, transact } from './transaction.ts';

/** Open blocks that are looked at in one go. */
const PAGE = 16;
/** Blocks that are looked at when a new one is begun, for those that the ranges of another time have filled. */
const NEW_AT_ONCE = 16;

const hintOf = (pool: Pool, { subnet }: PoolSubnet): string => `${pool.name} ${formatSubnet(subnet)}`;

/** Somebody may take the last place between the look and the change; then it is looked again. */
const LOOKS = 4;

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
    for (let look = 1; look <= LOOKS; look += 1) {
      const block = await findRoom(context, pool, subnet, signal);
      if (block === undefined) break;
      const offset = await takePlace(context, transaction, pool, subnet, block, signal);
      if (offset !== undefined) return addressAt(subnet, block, offset);
    }
  }
  return undefined;
}

async function takePlace(
  context: LeaseContext,
  transaction: Transaction,
  pool: Pool,
  subnet: PoolSubnet,
  block: bigint,
  signal: AbortSignal,
): Promise<number | undefined> {
  const name = formatSubnet(subnet.subnet);
  const key = blockKey(pool.name, name, block);
  await transaction.load([key], signal);
  const record = transaction.get(key);
  const [offset, ...others] = roomIn(subnet, block, record, context.now()).free;
  if (offset === undefined) return undefined;
  const next = withTaken(record, offset, context.now());
  transaction.put(key, next);
  if (others.length === 0 && Object.keys(next.cooling).length === 0) {
    transaction.delete(openKey(pool.name, name, block));
  }
  context.hints.set(hintOf(pool, subnet), block);
  return offset;
}

/** The number of a block in which something was free just now. */
async function findRoom(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const name = formatSubnet(subnet.subnet);
  const hint = context.hints.get(hintOf(pool, subnet));
  if (hint !== undefined && (await withRoom(context, pool, subnet, [hint], signal)) !== undefined) return hint;
  context.hints.delete(hintOf(pool, subnet));
  let after: StoreKey | undefined;
  for (;;) {
    const options = { limit: PAGE, ...(after === undefined ? {} : { after }) };
    const open = await context.store.list(FOLDERS.open(pool.name, name), options, signal);
    const blocks = open.map(({ key }) => BigInt(`0x${keyParts(key).at(-1) ?? '0'}`));
    const found = await withRoom(context, pool, subnet, blocks, signal);
    if (found !== undefined) return found;
    after = open.at(-1)?.key;
    if (open.length < PAGE) return await beginBlock(context, pool, subnet, signal);
  }
}

async function withRoom(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  blocks: readonly bigint[],
  signal: AbortSignal,
): Promise<bigint | undefined> {
  if (blocks.length === 0) return undefined;
  return await transact(
    context.store,
    async (look) => {
      const keys = blocks.map((block) => blockKey(pool.name, formatSubnet(subnet.subnet), block));
      await look.load(keys, signal);
      return blocks.find((block, index) => {
        const key = keys[index];
        return key !== undefined && roomIn(subnet, block, look.get(key), context.now()).free.length > 0;
      });
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
): Promise<bigint | undefined> {
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
        if (blocks.length === 0) return { block: undefined, isLast: true };
        const keys = blocks.map((block) => blockKey(pool.name, name, block));
        await transaction.load(keys, signal);
        const index = blocks.findIndex((block, at) => {
          const key = keys[at];
          return key !== undefined && roomIn(subnet, block, transaction.get(key), context.now()).free.length > 0;
        });
        const block = index < 0 ? undefined : blocks[index];
        transaction.put(begunKey, { begun: begun + (index < 0 ? blocks.length : index + 1) });
        if (block !== undefined) transaction.put(openKey(pool.name, name, block), {});
        return { block, isLast: false };
      },
      signal,
    );
    if (result.block !== undefined || result.isLast) return result.block;
  }
}

/**
 * Gives the address back to the pool, and its record up. What of it is no longer in the configuration is forgotten.
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
  const pool = context.pools.get(poolName);
  const parsed = parseAddress(address);
  const subnet = pool && subnetOf(pool, parsed);
  if (subnet === undefined) return;
  const name = formatSubnet(subnet.subnet);
  const { block, offset } = placeOf(subnet, parsed.value);
  const key = blockKey(poolName, name, block);
  await transaction.load([key], signal);
  transaction.put(key, withFreed(transaction.get(key), offset, coolsUntil, context.now()));
  transaction.put(openKey(poolName, name, block), {});
}

/** Whether {@link takeFree} would find one now. */
export async function hasRoom(
  context: LeaseContext,
  pool: Pool,
  family: Family,
  signal: AbortSignal,
): Promise<boolean> {
  for (const subnet of pool.subnets.filter((each) => each.subnet.family === family)) {
    if ((await findRoom(context, pool, subnet, signal)) !== undefined) return true;
  }
  return false;
}
