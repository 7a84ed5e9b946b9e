// Where containerd's CRI plugin looks for the plugins and the networks of CNI, from containerd's configuration files. Pure.
import { posix } from 'node:path';
import { parseToml, type TomlTable, type TomlValue } from './toml.ts';

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

function isTable(value: TomlValue | undefined): value is TomlTable {
  return value instanceof Map;
}

function tableAt(table: TomlTable, ...keys: readonly string[]): TomlTable | undefined {
  let at: TomlValue | undefined = table;
  for (const key of keys) at = isTable(at) ? at.get(key) : undefined;
  return isTable(at) ? at : undefined;
}

const isText = (value: TomlValue | undefined): value is string => typeof value === 'string' && value !== '';

function texts(value: TomlValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter(isText) : [];
}

/** @throws HoldfastError INVALID_CONFIG when it is not TOML */
export function readCniSettings(text: string): CniSettings {
  const root = parseToml(text);
  let settings: CniSettings = { imports: texts(root.get('imports')) };
  for (const name of CRI_PLUGINS) {
    const cni = tableAt(root, 'plugins', name, 'cni');
    if (cni === undefined) continue;
    const single = cni.get('bin_dir');
    // bin_dirs came with containerd 2.1; whoever still names the one of before means it.
    const plugins = (isText(single) ? [single] : texts(cni.get('bin_dirs'))).filter((path) => posix.isAbsolute(path));
    const networks = cni.get('conf_dir');
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
