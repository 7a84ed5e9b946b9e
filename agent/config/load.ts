// Reads the configuration: one file, then the drop-ins in lexical order.
import fs from 'node:fs/promises';
import path from 'node:path';
import { describeError, HoldfastError, isErrno } from '../../lib/errors.ts';
import { findConflicts } from './find-conflicts.ts';
import { leafPaths, mergePlain } from './merge.ts';
import { formatProblem, problemsOf } from './problems.ts';
import { type AgentConfig, API_VERSION, agentConfigSchema, KIND } from './schema.ts';
import { type ConfigProblem, type ConfigSource, type PlainMap, type Position, parseConfigSource } from './source.ts';

export interface ConfigPaths {
  /** Absent files mean defaults, unless `required`. */
  readonly file: string;
  /** Its `*.yaml` files are read after `file`, in lexical order. */
  readonly directory?: string;
  /** The user named `file`: it must be there. */
  readonly required?: boolean;
}

const DEFAULT_FILE = '/etc/holdfast/config.yaml';

/**
 * The file and the folder `config.d` beside it.
 * @param file - as the user named it (it must then exist); by default `/etc/holdfast/config.yaml` if it is there
 */
export function configPaths(file?: string): ConfigPaths {
  const resolved = path.resolve(file ?? DEFAULT_FILE);
  return {
    file: resolved,
    directory: path.join(path.dirname(resolved), 'config.d'),
    required: file !== undefined,
  };
}

export interface LoadedConfig {
  readonly config: AgentConfig;
  /** Files that were read, in the order in which later ones win. */
  readonly files: readonly string[];
  /** Where each value that is not a default was last set, by dotted path. */
  readonly origins: ReadonlyMap<string, Position>;
}

/** The result of checking: either a configuration or the reasons why there is none. */
export type CheckedConfig =
  | { readonly ok: true; readonly loaded: LoadedConfig }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_DROP_INS = 1000;

/** The names of the files that make up the configuration and exist. */
export async function listConfigFiles(paths: ConfigPaths): Promise<readonly string[]> {
  const files: string[] = [];
  if (paths.required === true || (await exists(paths.file))) files.push(paths.file);
  if (paths.directory !== undefined) {
    const names = (await readNames(paths.directory)).filter((name) => name.endsWith('.yaml') && !name.startsWith('.'));
    if (names.length > MAX_DROP_INS) {
      throw new HoldfastError('INVALID_CONFIG', `${paths.directory} has over ${MAX_DROP_INS} files; remove some`);
    }
    for (const name of names.sort()) files.push(path.join(paths.directory, name));
  }
  return files;
}

async function exists(file: string): Promise<boolean> {
  try {
    await fs.stat(file);
    return true;
  } catch (cause) {
    if (isErrno(cause, 'ENOENT', 'ENOTDIR')) return false;
    throw new HoldfastError('INVALID_CONFIG', `${file} cannot be read`, { cause });
  }
}

async function readNames(directory: string): Promise<readonly string[]> {
  try {
    return await fs.readdir(directory);
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return [];
    throw new HoldfastError('INVALID_CONFIG', `${directory} cannot be read`, { cause });
  }
}

async function readSource(file: string): Promise<ConfigSource | readonly ConfigProblem[]> {
  try {
    const stat = await fs.stat(file);
    // Asked before opening: opening a FIFO would wait for its other end.
    if (!stat.isFile()) return [{ file, line: 1, column: 1, message: 'is not a regular file' }];
    if (stat.size > MAX_FILE_BYTES) {
      return [{ file, line: 1, column: 1, message: `has ${stat.size} bytes; at most ${MAX_FILE_BYTES} are read` }];
    }
    return parseConfigSource(file, await fs.readFile(file, 'utf8'));
  } catch (error) {
    return [{ file, line: 1, column: 1, message: `cannot be read: ${describeError(error)}` }];
  }
}

function isProblems(read: ConfigSource | readonly ConfigProblem[]): read is readonly ConfigProblem[] {
  return Array.isArray(read);
}

/** What is in force without any file. */
export function defaultConfig(): LoadedConfig {
  const config = agentConfigSchema.parse({ apiVersion: API_VERSION, kind: KIND });
  return { config, files: [], origins: new Map() };
}

/** Puts parsed files together; pure. Each file is checked by itself, so that every problem has a file and a line. */
export function combineSources(sources: readonly ConfigSource[]): CheckedConfig {
  const problems = sources.flatMap((source) => {
    const checked = agentConfigSchema.safeParse(mergePlain({}, source.value));
    if (checked.success) return [];
    const found = checked.error.issues.flatMap((issue) => problemsOf(issue, source));
    return found.sort((a, b) => a.line - b.line || a.column - b.column);
  });
  if (problems.length > 0) return { ok: false, problems };
  const merged = sources.reduce<PlainMap>((before, source) => mergePlain(before, source.value), {
    apiVersion: API_VERSION,
    kind: KIND,
  });
  const origins = new Map<string, Position>();
  for (const path of leafPaths(merged)) {
    const last = sources.findLast((source) => hasPath(source.value, path));
    if (last !== undefined) origins.set(path.join('.'), last.keyPosition(path));
  }
  const config = agentConfigSchema.parse(merged);
  const conflicts = findConflicts(config, origins);
  if (conflicts.length > 0) return { ok: false, problems: conflicts };
  return { ok: true, loaded: { config, files: sources.map((source) => source.file), origins } };
}

function hasPath(value: PlainMap, path: readonly string[]): boolean {
  const key = path.join('.');
  return leafPaths(value).some((leaf) => leaf.join('.') === key);
}

/** Reads and checks the given files, in this order. */
export async function checkConfigFiles(files: readonly string[]): Promise<CheckedConfig> {
  const read = await Promise.all(files.map(readSource));
  const combined = combineSources(read.filter((each): each is ConfigSource => !isProblems(each)));
  const unreadable = read.filter(isProblems).flat();
  if (unreadable.length === 0) return combined;
  return { ok: false, problems: [...unreadable, ...(combined.ok ? [] : combined.problems)] };
}

/**
 * The configuration in force.
 * @throws HoldfastError INVALID_CONFIG naming every problem with its file, line and column (the first ten)
 */
export async function loadConfig(paths: ConfigPaths = configPaths()): Promise<LoadedConfig> {
  const checked = await checkConfigFiles(await listConfigFiles(paths));
  if (checked.ok) return checked.loaded;
  const shown = checked.problems.slice(0, 10).map(formatProblem);
  const more = checked.problems.length > shown.length ? `; and ${checked.problems.length - shown.length} more` : '';
  throw new HoldfastError('INVALID_CONFIG', `the configuration cannot be used: ${shown.join('; ')}${more}`);
}
