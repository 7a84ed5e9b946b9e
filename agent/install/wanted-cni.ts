// The plugin's Node form and the network's file, as they are to be. Pure.
import { createHash } from 'node:crypto';
import { type CniFacts, MARK_PREFIX, PLUGIN_NAME, readNetwork, SCRIPT_HEAD } from './cni-facts.ts';
import { LAYOUT } from './layout.ts';

export type CniMode = 'bridge' | 'routed';

/** A network that somebody wants to be that of new pods. */
export interface WantedNetwork {
  readonly name: string;
  readonly mode: CniMode;
}

export const PLUGIN_MODE = 0o755;
/** After the names that other network plugins give their files, `05-` and `00-` apart. */
export const NETWORK_FILE = '10-holdfast.conflist';
const BRIDGE = 'holdfast0';
/** Where the runtime's own promises to pods are kept, after the interface is there; by type, with their capability. */
const CHAINED = [
  { type: 'portmap', capabilities: { portMappings: true } },
  { type: 'bandwidth', capabilities: { bandwidth: true } },
];

/** Started by the runtime, whose PATH finds node; by way of the link, so that an upgrade leaves it as it is. */
export const PLUGIN_SCRIPT = [
  `${SCRIPT_HEAD} the CNI plugin on Node.js. holdfast uninstall removes this file.`,
  `exec node ${LAYOUT.current}/dist/cni-plugin/main.js`,
  '',
].join('\n');

/** Where the network's file is to be. */
export function networkPath({ directories }: CniFacts): string {
  return `${directories.networks.replace(/\/+$/, '')}/${NETWORK_FILE}`;
}

/** Of a launcher, by the text of launcher.c: the first digits of its SHA-256. */
export function launcherMark(source: string): string {
  return `${MARK_PREFIX}${createHash('sha256').update(source).digest('hex').slice(0, 16)}`;
}

/**
 * @param pool - undefined: the default one
 * @param others - the plugins that the runtime has beside ours, by name
 */
export function renderNetwork({ name, mode }: WantedNetwork, pool: string | undefined, others: ReadonlySet<string>) {
  const own = {
    type: PLUGIN_NAME,
    mode,
    ...(mode === 'bridge' && { bridge: BRIDGE }),
    ...(pool !== undefined && { pool }),
    capabilities: { 'io.kubernetes.cri.pod-annotations': true },
  };
  const network = { cniVersion: '1.0.0', name, plugins: [own, ...CHAINED.filter(({ type }) => others.has(type))] };
  return `${JSON.stringify(network, null, 2)}\n`;
}

/** Whether {@link renderNetwork} can have written the text: a manifest that was lost does not make it another's. */
export function isRenderedNetwork(path: string, text: string): boolean {
  const network = readNetwork({ path, text });
  const [own, ...others] = network?.plugins ?? [];
  const mode = own?.['mode'];
  if (network === undefined || (mode !== 'bridge' && mode !== 'routed')) return false;
  const pool = typeof own?.['pool'] === 'string' ? own['pool'] : undefined;
  const names = new Set(others.map(({ type }) => String(type)));
  return renderNetwork({ name: network.name, mode }, pool, names) === text;
}
