// Looks for what of CNI is on a host: the runtime's directories, the plugins and the networks in them. Changes nothing.
import { posix } from 'node:path';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { isPartialLauncher } from '../host/compile-launcher.ts';
import type { HostFiles } from '../host/host-files.ts';
import type { HostTree } from '../host/host-tree.ts';
import { isWritableDirectory, modeOf } from '../host/permissions.ts';
import {
  type CniFacts,
  classifyPlugin,
  type FoundPlugin,
  type NetworkFile,
  PLUGIN_NAME,
  pluginPath,
} from './cni-facts.ts';
import { type CniDirectories, type CniSettings, matchesPattern, readCniSettings } from './containerd-config.ts';

export interface ReadCniOptions {
  readonly files: HostFiles;
  readonly tree: HostTree;
  readonly pools: readonly string[];
  readonly hasDefaultPool: boolean;
  /** What the runtime itself says; undefined where it was not asked, or does not say. */
  readonly told: CniDirectories | undefined;
  /** Paths where an installation put our plugin and its network before. */
  readonly placed: { readonly plugin?: string | undefined; readonly network?: string | undefined };
}

const CONFIG = '/etc/containerd/config.toml';
const CONFIG_LIMIT = { maxBytes: 1024 * 1024 };
/** A statically linked launcher has less than one. */
const PLUGIN_LIMIT = { maxBytes: 8 * 1024 * 1024, longer: 'cut' } as const;
const NETWORK_LIMIT = { maxBytes: 1024 * 1024 };
/** As libcni: other files in the folder are none. */
const NETWORK_NAME = /\.(?:conf|conflist|json)$/;
const MAX_IMPORTS = 64;

/** containerd's own, and that of Debian's package, which Debian's containerd is configured with. */
const USUAL_PLUGINS = ['/opt/cni/bin', '/usr/lib/cni'];
const USUAL_NETWORKS = '/etc/cni/net.d';

/** The files that a configuration imports. A pattern counts in its last part, as people write it. */
async function importedFiles(tree: HostTree, { imports }: CniSettings): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const written of imports) {
    const path = posix.resolve(posix.dirname(CONFIG), written);
    const folder = posix.dirname(path);
    const names = (await tree.list(folder)) ?? [];
    const matching = names.filter((name) => matchesPattern(name, posix.basename(path)));
    paths.push(...matching.map((name) => posix.join(folder, name)));
  }
  return paths.slice(0, MAX_IMPORTS);
}

/** What containerd's files say together: an import counts more than the file that names it. */
async function readConfigured(tree: HostTree): Promise<{ readonly settings: CniSettings; readonly isThere: boolean }> {
  const main = await tree.readText(CONFIG, CONFIG_LIMIT);
  if (main === undefined) return { settings: { imports: [] }, isThere: false };
  const read = (path: string, text: string): CniSettings => {
    try {
      return readCniSettings(text);
    } catch (cause) {
      throw new HoldfastError('INVALID_CONFIG', path, { cause });
    }
  };
  let settings = read(CONFIG, main.text);
  for (const path of await importedFiles(tree, settings)) {
    const file = await tree.readText(path, CONFIG_LIMIT);
    if (file !== undefined) settings = { ...settings, ...read(path, file.text), imports: [] };
  }
  return { settings, isThere: true };
}

async function readDirectories({ tree, told }: ReadCniOptions): Promise<CniFacts['directories']> {
  if (told !== undefined) return { ...told, source: 'the runtime says so' };
  let usual = USUAL_PLUGINS[0] ?? '';
  for (const path of USUAL_PLUGINS.toReversed()) if ((await tree.list(path)) !== undefined) usual = path;
  const otherwise = { plugins: [usual], networks: USUAL_NETWORKS };
  try {
    const { settings, isThere } = await readConfigured(tree);
    const { plugins, networks = otherwise.networks } = settings;
    // What a containerd that is configured in another way has built in.
    const builtIn = isThere ? 'nothing else is configured' : `there is no ${CONFIG}`;
    return plugins === undefined
      ? { ...otherwise, networks, source: builtIn }
      : { plugins, networks, source: `by ${CONFIG}` };
  } catch (error) {
    return { ...otherwise, source: 'the usual one', problem: describeError(error) };
  }
}

async function lookAtPlugin({ files, tree }: ReadCniOptions, path: string): Promise<FoundPlugin | undefined> {
  const found = await files.look(path);
  if (found === undefined) return undefined;
  if (found.kind === 'link') return { kind: 'foreign', what: `a link to ${found.target}` };
  if (found.kind === 'directory') return { kind: 'foreign', what: 'a directory' };
  try {
    const text = await tree.readText(path, PLUGIN_LIMIT);
    return text === undefined ? undefined : classifyPlugin(text.text, (await modeOf(files.locate(path))) ?? 0);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    // A device, or what may not be read.
    return { kind: 'foreign', what: 'no file that can be read' };
  }
}

async function readNetworks({ tree, placed }: ReadCniOptions, folder: string): Promise<readonly NetworkFile[]> {
  const entries = (await tree.listKinds(folder)) ?? [];
  const names = entries
    .filter(({ name, kind }) => kind !== 'directory' && NETWORK_NAME.test(name))
    .map(({ name }) => name);
  const paths = new Set(names.map((name) => posix.join(folder, name)));
  if (placed.network !== undefined) paths.add(placed.network);
  const found: NetworkFile[] = [];
  for (const path of paths) {
    try {
      const file = await tree.readText(path, NETWORK_LIMIT);
      if (file !== undefined) found.push({ path, text: file.text });
    } catch (error) {
      // What is no file, or a link out of an image, is no network for the runtime either.
      if (!(error instanceof HoldfastError)) throw error;
    }
  }
  return found;
}

/** @throws HoldfastError HOST_FAILURE naming what cannot be read */
export async function readCniFacts(options: ReadCniOptions): Promise<CniFacts> {
  const { files, tree, pools, hasDefaultPool, placed } = options;
  const directories = await readDirectories(options);
  const present = new Map<string, { readonly isWritable: boolean }>();
  const otherPlugins = new Set<string>();
  const unfinished: string[] = [];
  for (const directory of directories.plugins) {
    const names = await tree.list(directory);
    if (names === undefined) continue;
    present.set(directory, { isWritable: await isWritableDirectory(files.locate(directory)) });
    for (const name of names) {
      if (isPartialLauncher(name)) unfinished.push(posix.join(directory, name));
      else if (name !== PLUGIN_NAME) otherPlugins.add(name);
    }
  }
  const plugins = new Map<string, FoundPlugin>();
  const paths = new Set([
    ...directories.plugins.map(pluginPath),
    ...(placed.plugin === undefined ? [] : [placed.plugin]),
  ]);
  for (const path of paths) {
    const found = await lookAtPlugin(options, path);
    if (found !== undefined) plugins.set(path, found);
  }
  const networks = await readNetworks(options, directories.networks);
  return { pools, hasDefaultPool, directories, present, plugins, otherPlugins, unfinished, networks };
}
