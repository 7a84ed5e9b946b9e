// The rules of nftables that give pods the host's address towards the outside: one for each subnet, whatever the number of
// pods. Pure.
import { createHash } from 'node:crypto';
import { type Family, formatSubnet, type Subnet } from '../../model/address.ts';

/** The table is ours as a whole; nobody else's rules are touched. */
export const TABLE = 'holdfast';

export interface MasqueradedPool {
  readonly name: string;
  readonly subnets: readonly Subnet[];
}

const WORD: Record<Family, string> = { 4: 'ip', 6: 'ip6' };

/** Among each other pods keep their addresses, and so do receivers of multicast (RFC 5771, RFC 4291). */
const NEVER: Record<Family, string> = { 4: '224.0.0.0/4', 6: 'ff00::/8' };

function rulesOf({ name, subnets }: MasqueradedPool): readonly string[] {
  return subnets.map((subnet) => {
    const { family } = subnet;
    const own = subnets.filter((each) => each.family === family).map(formatSubnet);
    const word = WORD[family];
    const elsewhere = `${word} daddr != { ${[...own, NEVER[family]].join(', ')} }`;
    return `${word} saddr ${formatSubnet(subnet)} ${elsewhere} counter masquerade comment "pool ${name}"`;
  });
}

/** What `nft -f` makes of nothing or of an earlier table, in one transaction. */
export interface Ruleset {
  readonly text: string;
  /** Stands in a comment of the table's chain of that name; tells whether the table is the one that is wanted. */
  readonly mark: string;
  readonly rules: number;
}

/** @param pools - their names are plain words (the configuration sees to it) */
export function planMasquerade(pools: readonly MasqueradedPool[]): Ruleset {
  const rules = pools.flatMap(rulesOf);
  const mark = `marked_${createHash('sha256').update(rules.join('\n')).digest('hex').slice(0, 16)}`;
  const table = [
    `table inet ${TABLE} {`,
    `  chain ${mark} {`,
    '    type nat hook postrouting priority srcnat; policy accept;',
    ...rules.map((rule) => `    ${rule}`),
    '  }',
    '}',
  ];
  // Made before it is deleted, so that deleting succeeds when it was not there.
  const fresh = [`table inet ${TABLE} {}`, `delete table inet ${TABLE}`];
  return { text: [...fresh, ...(rules.length === 0 ? [] : table), ''].join('\n'), mark, rules: rules.length };
}

/** Whether the listing of the table (`nft list table`; empty: there is none) shows these rules and no others. */
export function isInForce({ mark, rules }: Ruleset, listing: string): boolean {
  const lines = listing
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  if (rules === 0) return !lines.some((line) => line.startsWith('chain '));
  return (
    // Besides the rules: two that open, two that close, and the hook. What somebody has added would be one more.
    lines.length === rules + 5 &&
    lines[1] === `chain ${mark} {` &&
    lines.includes('type nat hook postrouting priority srcnat; policy accept;') &&
    lines.filter((line) => line.includes(' masquerade comment ')).length === rules
  );
}
