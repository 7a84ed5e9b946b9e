// What of CNI is on a host: where the runtime looks for plugins and networks, and what is there. Pure.
import type { CniDirectories } from './containerd-config.ts';
import { isAsWritten, type Manifest } from './manifest.ts';

/** The type of our networks, and so the name of the executable. */
export const PLUGIN_NAME = 'holdfast';

/** What is at a path where our plugin belongs. */
export type FoundPlugin =
  /** Compiled by an installation; `mark` says from which source. */
  | { readonly kind: 'launcher'; readonly mark: string; readonly mode: number }
  /** The Node form as an installation writes it, or what somebody made of it. */
  | { readonly kind: 'script'; readonly text: string; readonly mode: number }
  /** A form of our plugin that no installation put there. */
  | { readonly kind: 'by-hand' }
  /** Of others; `what` is for people. */
  | { readonly kind: 'foreign'; readonly what: string };

/** A network's file of the runtime, as it is on the host. */
export interface NetworkFile {
  readonly path: string;
  readonly text: string;
}

export interface CniFacts {
  /** Names of the pools of the configuration; none: the plugin is not served. */
  readonly pools: readonly string[];
  /** A network that names no pool has one. */
  readonly hasDefaultPool: boolean;
  readonly directories: CniDirectories & {
    /** Who says so, for people. */
    readonly source: string;
    /** Why what containerd is configured with could not be read. */
    readonly problem?: string;
  };
  /** Of the runtime's directories of plugins: those that are there, and whether something can be put into them. */
  readonly present: ReadonlyMap<string, { readonly isWritable: boolean }>;
  /** What is named as our plugin in the runtime's directories, and where an installation put it, by path. */
  readonly plugins: ReadonlyMap<string, FoundPlugin>;
  /** What else is in those directories, by name. */
  readonly otherPlugins: ReadonlySet<string>;
  /** What an interrupted installation left in those directories, by path. */
  readonly unfinished: readonly string[];
  /** In the order in which the runtime takes them. */
  readonly networks: readonly NetworkFile[];
}

/** Nothing of CNI on the host, and no pools. */
export const NO_CNI: CniFacts = {
  pools: [],
  hasDefaultPool: false,
  directories: { plugins: ['/opt/cni/bin'], networks: '/etc/cni/net.d', source: 'no configuration' },
  present: new Map(),
  plugins: new Map(),
  otherPlugins: new Set(),
  unfinished: [],
  networks: [],
};

/** Precedes the digest of launcher.c in a launcher that an installation compiled. */
export const MARK_PREFIX = 'holdfast CNI launcher ';
const MARK = new RegExp(`${MARK_PREFIX}[0-9a-f]{16}`);
export const SCRIPT_HEAD = '#!/bin/sh\n# Made by holdfast install:';

/** @param text - of the file, however binary; marks are plain ASCII */
export function classifyPlugin(text: string, mode: number): FoundPlugin {
  if (text.startsWith(SCRIPT_HEAD)) return { kind: 'script', text, mode };
  const isElf = text.startsWith('\u007FELF');
  const mark = isElf ? MARK.exec(text)?.[0] : undefined;
  if (mark !== undefined) return { kind: 'launcher', mark, mode };
  // The first word of our protocol, or the Node form that a script starts.
  const isOurs = isElf ? text.includes('holdfast-cni/1 ') : /\bcni-plugin\/main\.js\b/.test(text);
  return isOurs ? { kind: 'by-hand' } : { kind: 'foreign', what: isElf ? 'a program' : 'a file' };
}

/** The path of our plugin among those of one directory. */
export function pluginPath(directory: string): string {
  return `${directory.replace(/\/+$/, '')}/${PLUGIN_NAME}`;
}

/** An installation put it there, and nobody has changed it since. */
export function isOursUnchanged(found: FoundPlugin, path: string, current: string, manifest: Manifest | undefined) {
  if (found.kind === 'launcher') return true;
  return found.kind === 'script' && (found.text === current || isAsWritten(found.text, manifest?.files[path]));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export interface ReadNetwork {
  readonly name: string;
  /** Each with its keys; the first makes the interface. */
  readonly plugins: readonly Readonly<Record<string, unknown>>[];
}

/** A network as libcni reads one from a file: a list of plugins, or a single one. undefined when it is none. */
export function readNetwork({ path, text }: NetworkFile): ReadNetwork | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // It is somebody's all the same: what sorts before ours is told of, whatever is in it.
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const name = typeof value['name'] === 'string' ? value['name'] : '';
  if (!path.endsWith('.conflist')) return typeof value['type'] === 'string' ? { name, plugins: [value] } : undefined;
  const { plugins } = value;
  return Array.isArray(plugins) && plugins.length > 0 ? { name, plugins: plugins.filter(isObject) } : undefined;
}

/** The plugin is called by it: for interfaces, or for addresses alone. */
export function usesOurPlugin({ plugins }: ReadNetwork): boolean {
  return plugins.some(({ type, ipam }) => type === PLUGIN_NAME || (isObject(ipam) && ipam['type'] === PLUGIN_NAME));
}

/** The pool that a network names; undefined: the default one. */
export function poolOfNetwork({ plugins }: ReadNetwork): string | undefined {
  for (const { type, pool, ipam } of plugins) {
    const ofIpam = isObject(ipam) && (type === PLUGIN_NAME || ipam['type'] === PLUGIN_NAME) ? ipam['pool'] : undefined;
    const named = type === PLUGIN_NAME ? (pool ?? ofIpam) : ofIpam;
    if (typeof named === 'string') return named;
  }
  return undefined;
}
