// Has the host what its pools need: nft for masquerading, IPv6 for their subnets, the kernel's parts? Pure.
import type { Finding } from './check.ts';

export interface PoolNeeds {
  readonly pools: readonly {
    readonly name: string;
    readonly masquerade: boolean;
    readonly hasIpv6: boolean;
  }[];
  /** A network is in the mode `bridge`. */
  readonly needsBridge: boolean;
  /** `nft` is installed. */
  readonly hasNft: boolean;
  /** net.ipv6.conf.all.disable_ipv6; undefined where the kernel has no IPv6. */
  readonly ipv6Disabled: boolean | undefined;
  /** Of the kernel, built in or to be loaded; undefined where the host does not say which there are. */
  readonly modules: ReadonlySet<string> | undefined;
}

const subject = 'cni host';

const names = (pools: PoolNeeds['pools']): string =>
  `${pools.length === 1 ? 'pool' : 'pools'} ${pools.map(({ name }) => name).join(', ')}`;

function checkModules({ pools, needsBridge, modules }: PoolNeeds): readonly Finding[] {
  if (modules === undefined) return [];
  const masquerades = pools.some(({ masquerade }) => masquerade);
  const needed = [
    'veth',
    ...(needsBridge ? ['bridge'] : []),
    ...(masquerades ? ['nf_tables', 'nft_chain_nat', 'nft_masq'] : []),
  ];
  const missing = needed.filter((name) => !modules.has(name));
  if (missing.length === 0) return [];
  const text = `the kernel has no ${missing.join(', ')}: pods cannot be joined to the network`;
  const remedy = 'boot a kernel with them (Debian: linux-image-amd64; images for clouds and containers may lack some)';
  return [{ level: 'failed', subject, text, remedy }];
}

export function checkPoolNeeds(needs: PoolNeeds): readonly Finding[] {
  const masqueraded = needs.pools.filter(({ masquerade }) => masquerade);
  const dual = needs.pools.filter(({ hasIpv6 }) => hasIpv6);
  const findings: readonly Finding[] = [
    ...(masqueraded.length > 0 && !needs.hasNft
      ? [
          {
            level: 'failed' as const,
            subject,
            text: `nft is not installed: pods of ${names(masqueraded)} reach nothing outside, since masquerade needs it`,
            remedy: 'apt install nftables, or set masquerade: false where their addresses are routed',
          },
        ]
      : []),
    ...(dual.length > 0 && needs.ipv6Disabled !== false
      ? [
          {
            level: 'failed' as const,
            subject,
            text: `IPv6 is ${needs.ipv6Disabled === undefined ? 'not in the kernel' : 'switched off'}, and ${names(dual)} has IPv6 subnets: pods of it cannot start`,
            remedy:
              'set net.ipv6.conf.all.disable_ipv6 to 0 (and take ipv6.disable=1 off the kernel), or take these subnets out',
          },
        ]
      : []),
    ...checkModules(needs),
  ];
  return findings.length > 0 ? findings : [{ level: 'ok', subject, text: 'it has what the pools need' }];
}
