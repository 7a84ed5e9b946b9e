// Who imports whom, read from the sources' text. Biome's formatting is relied upon: quotes are single, and an import
// begins its line.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';

export interface Import {
  /** The importing file, from the root of the repository, with slashes. */
  readonly from: string;
  /** A file of the repository, or a package or Node.js module as it is written. */
  readonly to: string;
  readonly external: boolean;
  /** Gone after compilation: `import type`, or nothing but `type` specifiers. */
  readonly typeOnly: boolean;
  /** What is imported by name and stays after compilation; empty for `*`, defaults and side effects. */
  readonly names: readonly string[];
}

const STATEMENT = /^(?:import|export)\s+(type\s+)?([^'";]*?)\s*from\s+'([^']+)'/gm;
const BARE = /^import\s+'([^']+)'/gm;
const DYNAMIC = /\bimport\(\s*'([^']+)'/g;

/** The specifiers between braces; undefined when the statement has none. */
function specifiersOf(clause: string): readonly string[] | undefined {
  const names = /^\{([\s\S]*)\}$/.exec(clause.trim())?.[1]?.split(',');
  return names?.map((name) => name.trim()).filter((name) => name !== '');
}

/** The imports of one file. */
export function parseImports(from: string, source: string): readonly Import[] {
  const found: Import[] = [];
  const add = (target: string, typeOnly: boolean, names: readonly string[]): void => {
    const external = !target.startsWith('.');
    const to = external ? target : posix.normalize(posix.join(posix.dirname(from), target));
    found.push({ from, to, external, typeOnly, names });
  };
  for (const [, type, clause, target] of source.matchAll(STATEMENT)) {
    const specifiers = specifiersOf(clause ?? '');
    const names = (specifiers ?? []).filter((name) => !name.startsWith('type '));
    const typeOnly = type !== undefined || (specifiers !== undefined && specifiers.length > 0 && names.length === 0);
    add(target ?? '', typeOnly, typeOnly ? [] : names);
  }
  for (const [, target] of source.matchAll(BARE)) add(target ?? '', false, []);
  for (const [, target] of source.matchAll(DYNAMIC)) add(target ?? '', false, []);
  return found;
}

/** The sources below the given folders of a repository. */
export function listSources(root: string, folders: readonly string[]): readonly string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(?:ts|mjs)$/.test(entry.name))
      .map((entry) => relative(root, join(entry.parentPath, entry.name))),
  );
}

export function readImports(root: string, folders: readonly string[]): readonly Import[] {
  return listSources(root, folders).flatMap((file) => parseImports(file, readFileSync(join(root, file), 'utf8')));
}

/** Import cycles among the repository's files, each once, as the files in their order; type-only imports count too. */
export function findCycles(imports: readonly Import[]): readonly (readonly string[])[] {
  const targets = new Map<string, string[]>();
  for (const { from, to, external } of imports) {
    if (!external) targets.set(from, [...(targets.get(from) ?? []), to]);
  }
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const seenAt = path.indexOf(file);
    if (seenAt >= 0) cycles.push(path.slice(seenAt));
    if (seenAt >= 0 || finished.has(file)) return;
    for (const target of targets.get(file) ?? []) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  return cycles;
}
