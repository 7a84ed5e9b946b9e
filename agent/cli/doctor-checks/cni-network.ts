// Is there a network of the runtime that uses the pools, would the runtime take it, and is all there that it names? Pure.
import {
  type CniFacts,
  type NetworkFile,
  PLUGIN_NAME,
  poolOfNetwork,
  type ReadNetwork,
  readNetwork,
  usesOurPlugin,
} from '../../install/cni-facts.ts';
import type { Finding } from './check.ts';

const subject = 'cni network';
const PAGE = 'docs/stateful-ip.md';

function checkPool(
  { path }: NetworkFile,
  network: ReadNetwork,
  { pools, hasDefaultPool }: CniFacts,
): readonly Finding[] {
  const pool = poolOfNetwork(network);
  if (pool === undefined) {
    if (pools.length < 2 || hasDefaultPool) return [];
    const text = `${path} names no pool, and the configuration has several without a default: its pods get no addresses`;
    return [
      {
        level: 'failed',
        subject,
        text,
        remedy: `set "pool" in it, or network.defaultPool to one of ${pools.join(', ')}`,
      },
    ];
  }
  if (pools.includes(pool)) return [];
  const text = `${path} names the pool ${pool}, which the configuration does not have: its pods get no addresses`;
  return [{ level: 'failed', subject, text, remedy: `name one of ${pools.join(', ')}, or add the pool` }];
}

/** The plugins behind ours; the runtime calls them by name, too. */
function checkChain(
  { path }: NetworkFile,
  { plugins }: ReadNetwork,
  { directories, otherPlugins }: CniFacts,
): readonly Finding[] {
  const types = plugins.map(({ type }) => type).filter((type) => typeof type === 'string');
  const missing = types.filter((type) => type !== PLUGIN_NAME && !otherPlugins.has(type));
  if (missing.length === 0) return [];
  const text = `${path} names ${missing.join(', ')}, which ${missing.length === 1 ? 'is' : 'are'} not in ${directories.plugins.join(', ')}: its pods cannot start`;
  const remedy =
    'install the standard plugins (Debian package containernetworking-plugins), or take them out of the file';
  return [{ level: 'failed', subject, text, remedy }];
}

function checkOne(file: NetworkFile, network: ReadNetwork, facts: CniFacts): readonly Finding[] {
  const first = facts.networks[0]?.path;
  const findings: readonly Finding[] = [
    ...checkPool(file, network, facts),
    ...checkChain(file, network, facts),
    ...(first === undefined || first === file.path
      ? []
      : [
          {
            level: 'warning' as const,
            subject,
            text: `${first} sorts before ${file.path}: the runtime takes the first as the network of pods`,
            remedy: `give ${file.path} a name that sorts before it, unless it is there for other runtimes or for second interfaces`,
          },
        ]),
  ];
  if (findings.length > 0) return findings;
  return [{ level: 'ok', subject, text: `${network.name} (${file.path})` }];
}

export function checkCniNetworks(facts: CniFacts): readonly Finding[] {
  const ours = facts.networks.flatMap((file) => {
    const network = readNetwork(file);
    return network !== undefined && usesOurPlugin(network) ? [{ file, network }] : [];
  });
  if (ours.length > 0) return ours.flatMap(({ file, network }) => checkOne(file, network, facts));
  const text = `no network in ${facts.directories.networks} uses the pools: no pod gets an address of theirs`;
  const remedy = `holdfast install --cni-network=<name>, which changes the network of new pods; ${PAGE}`;
  return [{ level: 'warning', subject, text, remedy }];
}
