// A pool: the subnets that pods of a network get their addresses from, and which of their addresses those are. Pure.
import { createHash } from 'node:crypto';
import type { LinkRoute } from '../host/network/pod-links.ts';
import {
  type Address,
  type AddressRange,
  contains,
  type Family,
  formatAddress,
  formatRange,
  formatSubnet,
  type ParsedAddress,
  parseAddress,
  type Subnet,
  sizeOf,
} from '../model/address.ts';

export interface PoolSubnet {
  readonly subnet: Subnet;
  /** undefined: the subnet has no way out. */
  readonly gateway: Address | undefined;
  /** What pods may get: in order, apart from each other. */
  readonly usable: readonly Span[];
}

export interface Pool {
  readonly name: string;
  readonly subnets: readonly PoolSubnet[];
  readonly routes: readonly LinkRoute[];
}

/** Numbers of addresses, both ends in it. */
export type Span = Pick<AddressRange, 'first' | 'last'>;

export interface SubnetShape {
  readonly subnet: Subnet;
  readonly gateway: Address | undefined;
  /** Empty: the whole subnet. */
  readonly ranges: readonly Span[];
  readonly exclude: readonly Span[];
}

/**
 * Addresses are booked in blocks of so many neighbours: one record tells who is free among them, so that neither the
 * number of pods nor that of hosts matters to the one who looks.
 */
export const BLOCK_SIZE = 256;
const SIZE = BigInt(BLOCK_SIZE);

function inOrder(spans: readonly Span[]): readonly Span[] {
  const merged: Span[] = [];
  for (const span of spans.toSorted((a, b) => (a.first < b.first ? -1 : 1))) {
    const before = merged.at(-1);
    if (before === undefined || span.first > before.last + 1n) merged.push(span);
    else if (span.last > before.last) merged[merged.length - 1] = { first: before.first, last: span.last };
  }
  return merged;
}

function without(spans: readonly Span[], hole: Span): readonly Span[] {
  return spans
    .flatMap(({ first, last }) => [
      { first, last: last < hole.first ? last : hole.first - 1n },
      { first: first > hole.last ? first : hole.last + 1n, last },
    ])
    .filter(({ first, last }) => first <= last);
}

/** The subnet with what pods may get of it. */
export function poolSubnet({ subnet, gateway, ranges, exclude }: SubnetShape): PoolSubnet {
  const last = subnet.base + sizeOf(subnet) - 1n;
  const single = (value: bigint): Span => ({ first: value, last: value });
  // The subnet's own address and IPv4's broadcast address, which a /31 (RFC 3021) and a /127 (RFC 6164) do not have;
  // in IPv6 the first is the routers' anycast address (RFC 4291, 2.6.1).
  const ends = sizeOf(subnet) <= 2n ? [] : [single(subnet.base), ...(subnet.family === 4 ? [single(last)] : [])];
  const own = gateway === undefined ? [] : [single(parseAddress(gateway).value)];
  const spans = inOrder(ranges.length === 0 ? [{ first: subnet.base, last }] : ranges);
  return { subnet, gateway, usable: [...ends, ...own, ...exclude].reduce(without, spans) };
}

/** How many addresses pods may have. */
export function usableSize({ usable }: PoolSubnet): bigint {
  return usable.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
}

/** Whether pods may have the address. */
export function isUsable({ subnet, usable }: PoolSubnet, parsed: Pick<ParsedAddress, 'family' | 'value'>): boolean {
  if (!contains(subnet, parsed)) return false;
  return usable.some(({ first, last }) => first <= parsed.value && parsed.value <= last);
}

/** The number of the block that the address is in, and its place there. */
export function placeOf({ subnet }: PoolSubnet, value: bigint): { readonly block: bigint; readonly offset: number } {
  const index = value - subnet.base;
  return { block: index / SIZE, offset: Number(index % SIZE) };
}

export function addressAt({ subnet }: PoolSubnet, block: bigint, offset: number): Address {
  return formatAddress(subnet.family, subnet.base + block * SIZE + BigInt(offset));
}

/** The places of a block that pods may have, in order. */
export function usableOffsets({ subnet, usable }: PoolSubnet, block: bigint): readonly number[] {
  const start = subnet.base + block * SIZE;
  return usable.flatMap(({ first, last }) => {
    const from = first > start ? first - start : 0n;
    const to = last - start < SIZE - 1n ? last - start : SIZE - 1n;
    return from > to ? [] : Array.from({ length: Number(to - from) + 1 }, (_, index) => Number(from) + index);
  });
}

/** The block that is the n-th, from 0, of those in which pods may have addresses: the others are never looked at. */
export function nthBlock(pool: PoolSubnet, n: number): bigint | undefined {
  let left = BigInt(n);
  let next = 0n;
  for (const { first, last } of pool.usable) {
    const start = placeOf(pool, first).block;
    const [from, to] = [start > next ? start : next, placeOf(pool, last).block];
    if (to < from) continue;
    if (left <= to - from) return from + left;
    left -= to - from + 1n;
    next = to + 1n;
  }
  return undefined;
}

/** The same as long as {@link nthBlock} means the same. */
export function layoutOf({ subnet, usable }: PoolSubnet): string {
  const text = usable.map((span) => formatRange({ family: subnet.family, ...span })).join();
  return `${formatSubnet(subnet)} ${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

/** The subnet of the pool that the address is in. */
export function subnetOf(pool: Pool, parsed: ParsedAddress): PoolSubnet | undefined {
  return pool.subnets.find(({ subnet }) => contains(subnet, parsed));
}

/** The families that a pod gets one address each of. */
export function familiesOf({ subnets }: Pool): readonly Family[] {
  return ([4, 6] as const).filter((family) => subnets.some(({ subnet }) => subnet.family === family));
}
