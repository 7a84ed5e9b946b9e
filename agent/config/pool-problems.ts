// What is wrong with the pools of the network as a whole: what is outside of its subnet, and subnets that overlap. Pure.
import {
  type AddressRange,
  contains,
  formatRange,
  formatSubnet,
  parseAddress,
  type Subnet,
  sizeOf,
} from '../model/address.ts';
import type { AgentConfig } from './schema.ts';

type NetworkConfig = AgentConfig['network'];

const isWithin = (subnet: Subnet, { family, first, last }: AddressRange): boolean =>
  contains(subnet, { family, value: first }) && contains(subnet, { family, value: last });

const overlap = (one: Subnet, other: Subnet): boolean =>
  one.family === other.family && one.base < other.base + sizeOf(other) && other.base < one.base + sizeOf(one);

/** Sentences that begin with the key they are about. */
export function poolProblems({ pools, defaultPool }: Pick<NetworkConfig, 'pools' | 'defaultPool'>): readonly string[] {
  const problems: string[] = [];
  if (defaultPool !== undefined && !Object.hasOwn(pools, defaultPool)) {
    problems.push(`network.defaultPool: there is no pool "${defaultPool}" in network.pools`);
  }
  const seen: { readonly name: string; readonly subnet: Subnet }[] = [];
  for (const [name, { subnets }] of Object.entries(pools)) {
    for (const { cidr, gateway, ranges, exclude } of subnets) {
      const at = `network.pools.${name}: `;
      const text = formatSubnet(cidr);
      for (const range of [...ranges, ...exclude]) {
        if (!isWithin(cidr, range)) problems.push(`${at}${formatRange(range)} is not in ${text}`);
      }
      if (gateway !== undefined && !contains(cidr, parseAddress(gateway))) {
        problems.push(`${at}the gateway ${gateway} is not in ${text}`);
      }
      for (const other of seen.filter(({ subnet }) => overlap(subnet, cidr))) {
        problems.push(`${at}${text} has addresses in common with ${formatSubnet(other.subnet)} of ${other.name}`);
      }
      seen.push({ name, subnet: cidr });
    }
  }
  return problems;
}
