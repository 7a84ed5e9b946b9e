// What is wrong with the pools of the network as a whole: what is outside of its subnet, subnets that overlap, and what no
// interface can be given. Pure.
import {
  type AddressRange,
  contains,
  formatRange,
  formatSubnet,
  parseAddress,
  parseSubnet,
  type Subnet,
  sizeOf,
} from '../model/address.ts';
import type { AgentConfig } from './schema.ts';

type NetworkConfig = AgentConfig['network'];

const isWithin = (subnet: Subnet, { family, first, last }: AddressRange): boolean =>
  contains(subnet, { family, value: first }) && contains(subnet, { family, value: last });

const overlap = (one: Subnet, other: Subnet): boolean =>
  one.family === other.family && one.base < other.base + sizeOf(other) && other.base < one.base + sizeOf(one);

/** What no interface may have: IANA's special-purpose registries of IPv4 and IPv6, as far as the kernel refuses it. */
const NEVER: readonly (readonly [Subnet, string])[] = [
  [parseSubnet('0.0.0.0/8'), 'addresses of this host (RFC 1122)'],
  [parseSubnet('127.0.0.0/8'), 'loopback addresses (RFC 1122)'],
  [parseSubnet('224.0.0.0/3'), 'multicast and reserved addresses (RFC 1112)'],
  [parseSubnet('::/8'), 'reserved addresses (RFC 4291)'],
  [parseSubnet('fe80::/10'), 'link-local addresses (RFC 4291)'],
  [parseSubnet('ff00::/8'), 'multicast addresses (RFC 4291)'],
];

type RouteConfig = NetworkConfig['pools'][string]['routes'][number];

function routeProblem({ to, via }: RouteConfig, families: readonly number[], seen: readonly string[]): string[] {
  const text = formatSubnet(to);
  if (!families.includes(to.family)) return [`the route to ${text} needs an IPv${to.family} subnet in the pool`];
  if (via !== undefined && parseAddress(via).family !== to.family) return [`${via} cannot be the way to ${text}`];
  return seen.includes(text) ? [`there are two routes to ${text}`] : [];
}

/** Sentences that begin with the key they are about. */
export function poolProblems({ pools, defaultPool }: Pick<NetworkConfig, 'pools' | 'defaultPool'>): readonly string[] {
  const problems: string[] = [];
  if (defaultPool !== undefined && !Object.hasOwn(pools, defaultPool)) {
    problems.push(`network.defaultPool: there is no pool "${defaultPool}" in network.pools`);
  }
  const seen: { readonly name: string; readonly subnet: Subnet }[] = [];
  for (const [name, { subnets, routes }] of Object.entries(pools)) {
    const families = subnets.map(({ cidr }) => cidr.family);
    for (const [index, route] of routes.entries()) {
      const before = routes.slice(0, index).map(({ to }) => formatSubnet(to));
      problems.push(...routeProblem(route, families, before).map((each) => `network.pools.${name}: ${each}`));
    }
    for (const { cidr, gateway, ranges, exclude } of subnets) {
      const at = `network.pools.${name}: `;
      const text = formatSubnet(cidr);
      for (const range of [...ranges, ...exclude]) {
        if (!isWithin(cidr, range)) problems.push(`${at}${formatRange(range)} is not in ${text}`);
      }
      if (gateway !== undefined && !contains(cidr, parseAddress(gateway))) {
        problems.push(`${at}the gateway ${gateway} is not in ${text}`);
      }
      for (const [never, what] of NEVER.filter(([each]) => overlap(each, cidr))) {
        problems.push(`${at}${text} has ${what}; ${formatSubnet(never)} cannot be pods'`);
      }
      for (const other of seen.filter(({ subnet }) => overlap(subnet, cidr))) {
        problems.push(`${at}${text} has addresses in common with ${formatSubnet(other.subnet)} of ${other.name}`);
      }
      seen.push({ name, subnet: cidr });
    }
  }
  return problems;
}
