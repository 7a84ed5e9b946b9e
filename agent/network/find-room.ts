// Finds a block of a subnet with a free place: one that is open, or one that nobody has begun. Nothing is taken here; who takes
// looks again.
import { formatSubnet } from '../model/address.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyParts, type StoreKey } from './lease-store.ts';
import { roomIn } from './plan-block.ts';
import { layoutOf, nthBlock, type Pool, type PoolSubnet } from './pool.ts';
import { blockKey, FOLDERS, openKey, subnetKey } from './records.ts';
import { transact } from './transaction.ts';

/** Open blocks that are listed in one go. */
const PAGE = 64;
/** Of those as many are read in one go: mostly the first of them has room. */
const LOOKED_AT_ONCE = 8;
/** Blocks that are looked at when a new one is begun, for those that the ranges of another time have filled. */
const NEW_AT_ONCE = 16;

/** A block, and one of its places that were free just now. */
export interface Found {
  readonly block: bigint;
  readonly offset: number;
}

/**
 * @param avoided - a block that others are in: only when there is no other
 * @returns undefined when nothing of the subnet is free
 */
export async function findRoom(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  avoided: bigint | undefined,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const found =
    (await findOpen(context, pool, subnet, avoided, signal)) ??
    (await beginNew(context, pool, subnet, avoided, signal));
  if (found !== undefined || avoided === undefined) return found;
  return await withRoom(context, pool, subnet, [avoided], signal);
}

/** Subnets whose blocks have all been begun, which stays so unless the store loses its data (docs/stateful-ip.md); by what {@link layoutOf} says, for each context. */
const begunWhole = new WeakMap<LeaseContext, Set<string>>();

async function beginNew(
  context: LeaseContext,
  pool: Pool,
  subnet: PoolSubnet,
  avoided: bigint | undefined,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const whole = begunWhole.get(context) ?? new Set();
  begunWhole.set(context, whole);
  const name = `${pool.name} ${layoutOf(subnet)}`;
  if (whole.has(name)) return undefined;
  const begun = await beginBlock(context, pool, subnet, signal);
  if (begun !== undefined) return begun;
  whole.add(name);
  // Others may have begun the last ones after this host had looked for open ones.
  return await findOpen(context, pool, subnet, avoided, signal);
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
