// Where containerd's CRI plugin looks for the plugins and the networks of CNI, from containerd's configuration files. Pure.
import { posix } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { HoldfastError } from '../../lib/errors.ts';

export interface CniDirectories {
  /** Of plugins: asked in this order. */
  readonly plugins: readonly string[];
  /** Of networks: the first file, by name, is the network of pods. */
  readonly networks: string;
}

/** What one file says; absent: nothing. */
export interface CniSettings {
  readonly plugins?: readonly string[];
  readonly networks?: string;
  /** Paths or patterns of more files, as they are written. */
  readonly imports: readonly string[];
}

/** The CRI plugin's names: in configurations of version 1, 2, and 3 (containerd 2). */
const CRI_PLUGINS = ['cri', 'io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.runtime'];

type Table = Readonly<Record<string, unknown>>;

/** Deeper than any configuration nests; a damaged file must not exhaust the stack. */
const MAX_DEPTH = 64;

function parseToml(text: string): Table {
  try {
    return parse(text.replace(/^\uFEFF/, ''), { maxDepth: MAX_DEPTH, unsafeKeyBehaviour: 'drop' });
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const [what] = cause.message.split('\n');
    throw new HoldfastError('INVALID_CONFIG', `line ${cause.line}: ${what}`, { cause });
  }
}

function tableAt(table: Table, ...keys: readonly string[]): Table | undefined {
  let at: unknown = table;
  for (const key of keys) at = isTable(at) ? at[key] : undefined;
  return isTable(at) ? at : undefined;
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(isText) : [];
}

/** @throws HoldfastError INVALID_CONFIG when it is not TOML */
export function readCniSettings(text: string): CniSettings {
  const root = parseToml(text);
  let settings: CniSettings = { imports: texts(root['imports']) };
  for (const name of CRI_PLUGINS) {
    const cni = tableAt(root, 'plugins', name, 'cni');
    if (cni === undefined) continue;
    const single = cni['bin_dir'];
    // bin_dirs came with containerd 2.1; whoever still names the one of before means it.
    const plugins = (isText(single) ? [single] : texts(cni['bin_dirs'])).filter((path) => posix.isAbsolute(path));
    const networks = cni['conf_dir'];
    settings = {
      ...settings,
      ...(plugins.length > 0 && { plugins }),
      ...(isText(networks) && posix.isAbsolute(networks) && { networks }),
    };
  }
  return settings;
}

/** Whether a file's name matches the last part of an import's pattern (`*`, `?`). */
export function matchesPattern(name: string, pattern: string): boolean {
  const expression = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${expression}$`).test(name);
}
