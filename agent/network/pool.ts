// A pool: the subnets that pods of a network get their addresses from, and which of their addresses those are. Pure.
import { HoldfastError } from '../../lib/errors.ts';
import {
  type Address,
  type AddressRange,
  contains,
  type Family,
  formatAddress,
  formatSubnet,
  type ParsedAddress,
  parseAddress,
  type Subnet,
  sizeOf,
} from '../model/address.ts';
import type { LinkRoute } from './pod-links.ts';

export interface PoolSubnet {
  readonly subnet: Subnet;
  /** What pods may get; empty: the whole subnet. */
  readonly ranges: readonly AddressRange[];
  readonly exclude: readonly AddressRange[];
  /** undefined: the subnet has no way out. */
  readonly gateway: Address | undefined;
}

export interface Pool {
  readonly name: string;
  readonly subnets: readonly PoolSubnet[];
  readonly routes: readonly LinkRoute[];
}

/**
 * Addresses are booked in blocks of so many neighbours: one record tells who is free among them, so that neither the
 * number of pods nor that of hosts matters to the one who looks.
 */
export const BLOCK_SIZE = 256;

/** How many blocks the subnet has; the last may be a part of one. */
export function blocksOf({ subnet }: PoolSubnet): bigint {
  return (sizeOf(subnet) + BigInt(BLOCK_SIZE) - 1n) / BigInt(BLOCK_SIZE);
}

/** The number of the block that the address is in, and its place there. */
export function placeOf({ subnet }: PoolSubnet, value: bigint): { readonly block: bigint; readonly offset: number } {
  const index = value - subnet.base;
  return { block: index / BigInt(BLOCK_SIZE), offset: Number(index % BigInt(BLOCK_SIZE)) };
}

export function addressAt({ subnet }: PoolSubnet, block: bigint, offset: number): Address {
  return formatAddress(subnet.family, subnet.base + block * BigInt(BLOCK_SIZE) + BigInt(offset));
}

const isIn = (value: bigint, ranges: readonly AddressRange[]): boolean =>
  ranges.some(({ first, last }) => first <= value && value <= last);

/** Whether pods may have the address. */
export function isUsable(pool: PoolSubnet, { family, value }: Pick<ParsedAddress, 'family' | 'value'>): boolean {
  const { subnet, ranges, exclude, gateway } = pool;
  if (!contains(subnet, { family, value })) return false;
  // The network's own address and the broadcast address (RFC 3021: not in a /31); the anycast address (RFC 4291, 2.6.1).
  const size = sizeOf(subnet);
  if (size > 2n && value === subnet.base) return false;
  if (size > 2n && family === 4 && value === subnet.base + size - 1n) return false;
  if (gateway !== undefined && value === parseAddress(gateway).value) return false;
  return (ranges.length === 0 || isIn(value, ranges)) && !isIn(value, exclude);
}

/** The places of a block that pods may have. */
export function usableOffsets(pool: PoolSubnet, block: bigint): readonly number[] {
  const { subnet } = pool;
  const first = subnet.base + block * BigInt(BLOCK_SIZE);
  const offsets: number[] = [];
  for (let offset = 0; offset < BLOCK_SIZE; offset += 1) {
    if (isUsable(pool, { family: subnet.family, value: first + BigInt(offset) })) offsets.push(offset);
  }
  return offsets;
}

/**
 * The block that is the n-th, from 0, of those in which pods may have addresses; of a large subnet with small ranges the
 * others are never looked at.
 */
export function nthBlock(pool: PoolSubnet, n: number): bigint | undefined {
  const { ranges } = pool;
  if (ranges.length === 0) return BigInt(n) < blocksOf(pool) ? BigInt(n) : undefined;
  const spans = ranges
    .map(({ first, last }) => ({ first: placeOf(pool, first).block, last: placeOf(pool, last).block }))
    .toSorted((a, b) => (a.first < b.first ? -1 : 1));
  let left = BigInt(n);
  let next = 0n;
  for (const { first, last } of spans) {
    const from = first > next ? first : next;
    if (last < from) continue;
    if (left <= last - from) return from + left;
    left -= last - from + 1n;
    next = last + 1n;
  }
  return undefined;
}

/** The subnet of the pool that the address is in. */
export function subnetOf(pool: Pool, parsed: ParsedAddress): PoolSubnet | undefined {
  return pool.subnets.find(({ subnet }) => contains(subnet, parsed));
}

/** The families that a pod gets one address each of. */
export function familiesOf({ subnets }: Pool): readonly Family[] {
  return ([4, 6] as const).filter((family) => subnets.some(({ subnet }) => subnet.family === family));
}

/** @throws HoldfastError INVALID_CONFIG when pools overlap: the same address could be granted from both */
export function requireDisjoint(pools: readonly Pool[]): void {
  const all = pools.flatMap(({ name, subnets }) => subnets.map(({ subnet }) => ({ name, subnet })));
  for (const [index, one] of all.entries()) {
    for (const other of all.slice(index + 1)) {
      if (one.subnet.family !== other.subnet.family) continue;
      const overlaps =
        one.subnet.base < other.subnet.base + sizeOf(other.subnet) &&
        other.subnet.base < one.subnet.base + sizeOf(one.subnet);
      if (!overlaps) continue;
      throw new HoldfastError(
        'INVALID_CONFIG',
        `network.pools: ${formatSubnet(one.subnet)} of ${one.name} and ${formatSubnet(other.subnet)} of ${other.name} have addresses in common`,
      );
    }
  }
}
