// One configuration file: YAML into plain data, and where in the file each key stands.
import { isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { describeError } from '../../lib/errors.ts';

export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What is wrong, where, and what is allowed instead. */
export interface ConfigProblem extends Position {
  readonly message: string;
}

export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [key: string]: Plain };
export type PlainMap = { readonly [key: string]: Plain };

export interface ConfigSource {
  readonly file: string;
  readonly value: PlainMap;
  /** Of the value at the path; of the nearest parent that is there otherwise. */
  position(path: readonly PropertyKey[]): Position;
  /** Of the key (not its value) at the path. */
  keyPosition(path: readonly PropertyKey[]): Position;
}

/** More than any sensible configuration; ends alias cycles and hostile nesting. */
const MAX_DEPTH = 12;
const MAX_ALIASES = 50;

/** Keys without a value are absent: a section whose lines are all commented out, or a drop-in that unsets a key. */
function toPlain(value: unknown, depth: number): Plain | undefined {
  if (depth > MAX_DEPTH) throw new Error(`nested over ${MAX_DEPTH} levels deep`);
  if (Array.isArray(value)) return value.map((item) => toPlain(item, depth + 1) ?? null);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, toPlain(item, depth + 1) ?? null] as const),
    );
  }
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  return null;
}

export function isPlainMap(value: Plain | undefined): value is PlainMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads the text of one file; never throws.
 * @param file - its name, for positions
 * @returns what it holds, or every problem that keeps it from being read
 */
export function parseConfigSource(file: string, text: string): ConfigSource | readonly ConfigProblem[] {
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
    const faults = [...document.errors, ...document.warnings];
    if (faults.length > 0) return faults.map((fault) => ({ ...at(fault.pos[0]), message: fault.message }));
    const root: unknown = document.contents;
    const value = toPlain(document.toJS({ maxAliasCount: MAX_ALIASES }), 0) ?? {};
    if (!isPlainMap(value)) {
      return [{ ...at(0), message: 'must be a map that begins with apiVersion and kind' }];
    }
    return {
      file,
      value,
      position: (path) => at(findNode(root, path).value),
      keyPosition: (path) => at(findNode(root, path).key),
    };
  } catch (error) {
    // The YAML library throws on alias bombs and runs out of stack on hostile nesting.
    return [{ file, line: 1, column: 1, message: `cannot be read as YAML: ${describeError(error)}` }];
  }
}

/** Offsets of the key and the value at the path, or of the last step of the path that exists. */
function findNode(root: unknown, path: readonly PropertyKey[]): { readonly key: number; readonly value: number } {
  let node = root;
  let key = 0;
  let value = startOf(root) ?? 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(item.key) === String(step));
      if (pair === undefined) break;
      key = startOf(pair.key) ?? key;
      value = startOf(pair.value) ?? key;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      key = value = startOf(node) ?? value;
    } else break;
  }
  return { key, value };
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}
