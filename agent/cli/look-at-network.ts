// What `holdfast doctor` looks at where the configuration has pools: the plugin, the socket, the networks, the host.
import { join } from 'node:path';
import type { AgentConfig } from '../config/schema.ts';
import { runCommand } from '../host/command.ts';
import type { HostTree } from '../host/host-tree.ts';
import { readKernelModules } from '../host/kernel-modules.ts';
import { askPluginVersions } from '../host/plugin-version.ts';
import { type CniFacts, readNetwork, usesOurPlugin } from '../install/cni-facts.ts';
import { readLauncherMark } from '../install/read-program.ts';
import { answerOf } from './answer-of.ts';
import { askPoolStatus } from './ask-cni.ts';
import type { Finding } from './doctor-checks/check.ts';
import { checkCniNetworks } from './doctor-checks/cni-network.ts';
import { checkCniPlugin, pluginInUse } from './doctor-checks/cni-plugin.ts';
import { checkPoolNeeds } from './doctor-checks/pool-needs.ts';
import type { Answer } from './doctor-checks/services.ts';
import { factsOf, openHost, programRoot } from './install-host.ts';

const NFT_TIMEOUT_MS = 10_000;
/** Pools beyond these are asked by the runtime alone. */
const MOST_POOLS = 16;

/** Only what is ours is started: the runtime starts it as root, too, and so does doctor. */
async function askPlugin(cni: CniFacts, signal: AbortSignal): Promise<Answer<readonly string[]> | undefined> {
  const inUse = pluginInUse(cni);
  if (inUse === undefined || inUse[1].kind === 'foreign') return undefined;
  return await answerOf(() => askPluginVersions(inUse[0], signal));
}

async function lookAtHost({ network }: AgentConfig, cni: CniFacts, tree: HostTree, signal: AbortSignal) {
  const pools = Object.entries(network.pools).map(([name, { masquerade, subnets }]) => {
    return { name, masquerade, hasIpv6: subnets.some(({ cidr }) => cidr.family === 6) };
  });
  const needsBridge = cni.networks.some((file) => {
    const read = readNetwork(file);
    return read !== undefined && usesOurPlugin(read) && read.plugins.some(({ type, mode }) => isBridge(type, mode));
  });
  const nft = await answerOf(() => runCommand('nft', ['--version'], { timeoutMs: NFT_TIMEOUT_MS, signal }));
  const disabled = await tree.readText('/proc/sys/net/ipv6/conf/all/disable_ipv6');
  return checkPoolNeeds({
    pools,
    needsBridge,
    hasNft: 'value' in nft,
    ipv6Disabled: disabled === undefined ? undefined : disabled.text.trim() === '1',
    modules: await readKernelModules(tree),
  });
}

const isBridge = (type: unknown, mode: unknown): boolean =>
  type === 'bridge' || (type === 'holdfast' && mode !== 'routed');

/** Nothing is said where no pools are configured. */
export async function lookAtNetwork(
  config: AgentConfig,
  tree: HostTree,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { pools, defaultPool } = config.network;
  const names = Object.keys(pools);
  if (names.length === 0) return [];
  const facts = await factsOf(await openHost('/', true), signal);
  // Of the configuration that is looked at, which may not be the installed one.
  const cni: CniFacts = { ...facts.cni, pools: names, hasDefaultPool: defaultPool !== undefined };
  const socket = join(config.paths.run, 'cni.sock');
  const status = new Map<string, Answer<string | undefined>>();
  for (const pool of names.slice(0, MOST_POOLS)) {
    const answer = await answerOf(() => askPoolStatus(socket, pool, signal));
    status.set(pool, answer);
    if ('problem' in answer) break;
  }
  const launcherMark = await readLauncherMark(programRoot());
  return [
    ...checkCniPlugin({ cni, launcherMark, versions: await askPlugin(cni, signal), socket, status }),
    ...checkCniNetworks(cni),
    ...(await lookAtHost(config, cni, tree, signal)),
  ];
}
