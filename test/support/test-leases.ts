// Pools and a context for tests of the rules about addresses.
import { parseRange, parseSubnet } from '../../agent/model/address.ts';
import type { AttachmentId } from '../../agent/network/cni/request.ts';
import type { Handover, LeaseContext, LeaseOptions } from '../../agent/network/lease-context.ts';
import type { LeaseStore } from '../../agent/network/lease-store.ts';
import type { OtherHosts } from '../../agent/network/other-hosts.ts';
import { type Pool, type PoolSubnet, poolSubnet } from '../../agent/network/pool.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';

export const OPTIONS: LeaseOptions = { keepFor: 1000, reserve: { cap: 3, keepFor: 1000 }, cooldown: 0 };

export interface Clock {
  now: number;
}

/** What pods may have of it, without a gateway. */
export function subnetOfPool(cidr: string, ranges: readonly string[] = []): PoolSubnet {
  const shape = { subnet: parseSubnet(cidr), exclude: [], gateway: undefined };
  return poolSubnet({ ...shape, ranges: ranges.map(parseRange) });
}

export function poolOf(name: string, ...cidrs: readonly string[]): Pool {
  return { name, subnets: cidrs.map((cidr) => subnetOfPool(cidr)), routes: [] };
}

export interface TestLeases extends LeaseContext {
  readonly told: Handover[];
}

export interface TestLeasesOptions extends Partial<LeaseOptions> {
  readonly host?: string;
  readonly clock?: Clock;
  readonly otherHosts?: OtherHosts;
}

export function testLeases(
  store: LeaseStore,
  pools: readonly Pool[],
  { host = 'a', clock = { now: 1 }, otherHosts, ...options }: TestLeasesOptions = {},
): TestLeases {
  const told: Handover[] = [];
  return {
    store,
    host,
    otherHosts,
    turns: new KeyedMutex(),
    pools: new Map(pools.map((pool) => [pool.name, pool] as const)),
    options: { ...OPTIONS, ...options },
    now: () => clock.now,
    hints: new Map(),
    onHandover: (handover) => void told.push(handover),
    told,
  };
}

export const sandboxOf = (containerId: string): AttachmentId => ({ network: 'pods', containerId, ifname: 'eth0' });
