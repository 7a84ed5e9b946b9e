// The network configuration from standard input: decoded, its version known, and the plugin's own part checked. What the
// plugin does not know is left alone, since runtimes and other plugins of a chain have keys of their own.
import { z } from 'zod';
import { CNI_ERROR, CniError, quote } from './cni-error.ts';
import { isCniName, isInterfaceName } from './parse-environment.ts';
import type { DataPlane, NetworkConfig } from './request.ts';
import { type CniVersion, firstVersionWith, isAtLeast, isSupported, SUPPORTED_VERSIONS } from './versions.ts';

/** The plugin's name in configurations, and so that of its executable. */
export const PLUGIN_TYPE = 'holdfast';
export const DEFAULT_BRIDGE = 'holdfast0';
/** Bytes: the least that IPv4 allows (RFC 791), and the most that the kernel takes for veth. */
const LEAST_MTU = 68;
const MOST_MTU = 65_535;

/** A JSON object as it came; nothing of it is trusted. */
export type RawConfig = Readonly<Record<string, unknown>>;

function refuse(message: string): CniError {
  return new CniError(CNI_ERROR.INVALID_CONFIG, 'INVALID_REQUEST', message);
}

/** @throws CniError 6 when the bytes are not a JSON object in UTF-8 */
export function decodeConfig(stdin: Uint8Array): RawConfig {
  const undecodable = (why: string, cause?: unknown) =>
    new CniError(
      CNI_ERROR.UNDECODABLE,
      'INVALID_REQUEST',
      `the network configuration on standard input ${why}`,
      cause === undefined ? undefined : { cause },
    );
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(stdin);
  } catch (cause) {
    throw undecodable('is not UTF-8', cause);
  }
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw undecodable(text.trim() === '' ? 'is empty' : 'is not JSON', cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as RawConfig;
  throw undecodable(`must be an object, not ${quote(value)}`);
}

/** @throws CniError 1 when the version is not spoken, or does not have the command */
export function parseVersion(config: RawConfig, command: string): CniVersion {
  const version = config['cniVersion'];
  const refuseVersion = (message: string) =>
    new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, 'UNSUPPORTED', `${message}; set cniVersion in the configuration`);
  if (!isSupported(version)) {
    throw refuseVersion(`cniVersion is ${quote(version)}; supported are ${SUPPORTED_VERSIONS.join(', ')}`);
  }
  const first = firstVersionWith(command);
  if (isAtLeast(version, first)) return version;
  throw refuseVersion(`${command} does not exist in CNI ${version}, only from ${first} on`);
}

/** @throws CniError 7 when it is missing or not in CNI's grammar */
export function parseNetworkName(config: RawConfig): string {
  const name = config['name'];
  if (typeof name === 'string' && isCniName(name)) return name;
  throw refuse(
    `name is ${quote(name)}; a network's name has letters, digits, "_", "." and "-" only, the first a letter or digit`,
  );
}

const interfaceName = z.string().refine(isInterfaceName, { error: 'no interface can have this name' });
const poolName = z.string().refine(isCniName, { error: 'no pool can have this name' });
const mtu = z.int().min(LEAST_MTU).max(MOST_MTU);
/** What the largest request has room for, in entries as runtimes write them. */
const MOST_ENTRIES = 16_384;

/** A list that is only looked into when it is not out of proportion: each wrong entry would be a problem to describe. */
export function listOf<Schema extends z.ZodType>(element: Schema, what = 'a list') {
  const bounded = z.array(z.unknown(), { error: `must be ${what}` }).max(MOST_ENTRIES);
  return bounded.pipe(z.array(element));
}

const texts = listOf(z.string());

/** Keys that Go's plugins write as null are as good as absent. */
const orNull = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === null ? undefined : value), schema.optional());

const settings = z.object({
  mode: orNull(z.enum(['bridge', 'routed'])),
  bridge: orNull(interfaceName),
  uplink: orNull(interfaceName),
  mtu: orNull(mtu),
  hairpin: orNull(z.boolean()),
});
const commonSettings = z.object({
  pool: orNull(poolName),
  defaultRoute: orNull(z.boolean()),
  probe: orNull(z.boolean()),
  ipam: orNull(z.object({ type: orNull(z.string()), pool: orNull(poolName), defaultRoute: orNull(z.boolean()) })),
  dns: orNull(
    z.object({
      nameservers: orNull(texts),
      domain: orNull(z.string()),
      search: orNull(texts),
      options: orNull(texts),
    }),
  ),
});

/** @throws CniError 7 with every problem in one line */
export function readWith<Schema extends z.ZodType>(schema: Schema, config: RawConfig): z.output<Schema> {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const problems = result.error.issues.slice(0, 5).map((issue) => {
    const found = valueAt(config, issue.path);
    return `${issue.path.join('.')}: ${quote(found)}: ${issue.message}`;
  });
  throw refuse(problems.join('; '));
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, step) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[step] : undefined),
    value,
  );
}

function readDataPlane(config: RawConfig): DataPlane {
  const { mode = 'bridge', bridge, uplink, mtu, hairpin } = readWith(settings, config);
  const withMtu = mtu === undefined ? {} : { mtu };
  if (mode === 'routed') {
    const misplaced = Object.entries({ bridge, uplink, hairpin }).filter(([, value]) => value !== undefined);
    const [first] = misplaced;
    // Ignored, it would look as if there were a bridge.
    if (first !== undefined) throw refuse(`${first[0]}: ${quote(first[1])}: only for mode "bridge"; remove it`);
    return { mode, ...withMtu };
  }
  const name = bridge ?? DEFAULT_BRIDGE;
  if (uplink === name) throw refuse(`uplink: ${quote(uplink)}: is the bridge itself; name an interface of the host`);
  return { mode, bridge: name, ...(uplink === undefined ? {} : { uplink }), ...withMtu, hairpin: hairpin ?? true };
}

/** Without the keys that are not there, so that nothing of it is printed as undefined or null. */
function present(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

/** Whether another plugin calls for addresses, or the runtime for everything. Pool and dns are the same for both. */
function isIpamOnly(config: RawConfig, ipamType: string | undefined): boolean {
  const type = config['type'];
  if (type === PLUGIN_TYPE) {
    if (ipamType === undefined || ipamType === PLUGIN_TYPE) return false;
    throw new CniError(
      CNI_ERROR.UNSUPPORTED_FIELD,
      'UNSUPPORTED',
      `ipam.type is ${quote(ipamType)}: with type "${PLUGIN_TYPE}" addresses come from its pools; remove ipam.type`,
    );
  }
  if (ipamType === PLUGIN_TYPE) return true;
  throw refuse(
    `type is ${quote(type)} and ipam.type ${quote(ipamType)}: one of them must be "${PLUGIN_TYPE}", for that is who was called`,
  );
}

/** @throws CniError 2 or 7 */
export function parseNetwork(config: RawConfig): NetworkConfig {
  const name = parseNetworkName(config);
  const { pool: own, ipam, dns, defaultRoute: ownRoute, probe } = readWith(commonSettings, config);
  const dataPlane: DataPlane = isIpamOnly(config, ipam?.type) ? { mode: 'ipam' } : readDataPlane(config);
  if (own !== undefined && ipam?.pool !== undefined && own !== ipam.pool) {
    throw refuse(`pool is ${quote(own)} and ipam.pool ${quote(ipam.pool)}; set one of them`);
  }
  if (probe === true && dataPlane.mode !== 'bridge') {
    throw refuse(`probe: true: only for mode "bridge"; elsewhere there is no link of ours to ask on`);
  }
  const pool = own ?? ipam?.pool;
  // Whoever says no in one place is heard.
  const hasDefaultRoute = (ownRoute ?? true) && (ipam?.defaultRoute ?? true);
  return {
    name,
    dataPlane,
    ...(pool === undefined ? {} : { pool }),
    ...(dns === undefined ? {} : { dns: present(dns) }),
    ...(hasDefaultRoute ? {} : { defaultRoute: false }),
    ...(probe === undefined ? {} : { probe }),
  };
}

/**
 * For DEL and GC: a sandbox must be removable also when somebody has broken the settings since, and what is to be freed
 * is known by the name alone. Settings that cannot be read are as if they were not there.
 * @throws CniError 7 when the name cannot be read
 */
export function parseNetworkLeniently(config: RawConfig): NetworkConfig {
  const name = parseNetworkName(config);
  try {
    return parseNetwork(config);
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    if (config['type'] !== PLUGIN_TYPE) return { name, dataPlane: { mode: 'ipam' } };
    return { name, dataPlane: { mode: 'bridge', bridge: DEFAULT_BRIDGE, hairpin: true } };
  }
}
