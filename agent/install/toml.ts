// TOML 1.0 as far as a program that only looks up keys needs it: tables, keys, strings, arrays; numbers and dates stay the
// words that they are. Pure. (containerd is configured in it.)
import { HoldfastError } from '../../lib/errors.ts';

export type TomlValue = string | readonly TomlValue[] | TomlTable;
export type TomlTable = ReadonlyMap<string, TomlValue>;

type Table = Map<string, TomlValue>;

const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  e: '\u001b',
  '"': '"',
  '\\': '\\',
};
/** Deeper than any configuration nests; a damaged file must not exhaust the stack. */
const MAX_DEPTH = 64;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  }

  document(): TomlTable {
    const root: Table = new Map();
    let table = root;
    for (;;) {
      this.#skip(/[ \t\n]+|#[^\n]*/y);
      if (this.#at >= this.#text.length) return root;
      if (this.#take('[[')) table = this.#header(root, ']]');
      else if (this.#take('[')) table = this.#header(root, ']');
      else this.#assignment(table, 0);
      this.#skip(/[ \t]+|#[^\n]*/y);
      if (this.#at < this.#text.length && this.#text[this.#at] !== '\n') throw this.#wrong('the end of the line');
    }
  }

  #wrong(expected: string): HoldfastError {
    const line = this.#text.slice(0, this.#at).split('\n').length;
    return new HoldfastError('INVALID_CONFIG', `line ${line}: expected ${expected}`);
  }

  #skip(what: RegExp): void {
    for (;;) {
      what.lastIndex = this.#at;
      const { length } = what.exec(this.#text)?.[0] ?? '';
      if (length === 0) return;
      this.#at += length;
    }
  }

  #take(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  #match(what: RegExp): string | undefined {
    what.lastIndex = this.#at;
    const found = what.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #header(root: Table, end: ']' | ']]'): Table {
    const keys = this.#keys();
    if (!this.#take(end)) throw this.#wrong(`"${end}"`);
    if (end === ']') return this.#descend(root, keys);
    const parent = this.#descend(root, keys.slice(0, -1));
    const last = keys.at(-1) ?? '';
    const before = parent.get(last) ?? [];
    if (!Array.isArray(before)) throw this.#wrong('a name that is not in use yet');
    const table: Table = new Map();
    parent.set(last, [...before, table]);
    return table;
  }

  /** The table at the keys, made where it is missing; of an array of tables the last. */
  #descend(from: Table, keys: readonly string[]): Table {
    let table = from;
    for (const key of keys) {
      const found = table.get(key);
      const next = Array.isArray(found) ? found.at(-1) : found;
      if (next === undefined) {
        const made: Table = new Map();
        table.set(key, made);
        table = made;
      } else if (next instanceof Map) table = next;
      else throw this.#wrong('the name of a table');
    }
    return table;
  }

  #keys(): readonly string[] {
    const keys: string[] = [];
    do {
      this.#skip(/[ \t]+/y);
      const next = this.#text[this.#at];
      const key = next === '"' || next === "'" ? this.#string() : this.#match(/[A-Za-z0-9_-]+/y);
      if (key === undefined) throw this.#wrong('a key');
      keys.push(key);
      this.#skip(/[ \t]+/y);
    } while (this.#take('.'));
    return keys;
  }

  #assignment(table: Table, depth: number): void {
    const keys = this.#keys();
    if (!this.#take('=')) throw this.#wrong('"="');
    const parent = this.#descend(table, keys.slice(0, -1));
    const last = keys.at(-1) ?? '';
    if (parent.has(last)) throw this.#wrong('a key that is not there already');
    parent.set(last, this.#value(depth));
  }

  #value(depth: number): TomlValue {
    if (depth > MAX_DEPTH) throw this.#wrong('fewer brackets');
    this.#skip(/[ \t]+/y);
    const next = this.#text[this.#at];
    if (next === '"' || next === "'") return this.#string();
    if (this.#take('[')) return this.#array(depth + 1);
    if (this.#take('{')) return this.#inlineTable(depth + 1);
    const word = this.#match(/[^\s,\]}#]+/y);
    if (word === undefined) throw this.#wrong('a value');
    return word;
  }

  #array(depth: number): readonly TomlValue[] {
    const blank = /[ \t\n]+|#[^\n]*/y;
    const values: TomlValue[] = [];
    for (;;) {
      this.#skip(blank);
      if (this.#take(']')) return values;
      values.push(this.#value(depth));
      this.#skip(blank);
      if (!this.#take(',') && this.#text[this.#at] !== ']') throw this.#wrong('"," or "]"');
    }
  }

  #inlineTable(depth: number): TomlTable {
    const table: Table = new Map();
    for (;;) {
      this.#skip(/[ \t]+/y);
      if (this.#take('}')) return table;
      this.#assignment(table, depth);
      this.#skip(/[ \t]+/y);
      if (!this.#take(',') && this.#text[this.#at] !== '}') throw this.#wrong('"," or "}"');
    }
  }

  #string(): string {
    const literal = this.#match(/'''(?!')\n?[\s\S]*?'''(?!')|'''\n?[\s\S]*?'''|'(?!'')[^'\n]*'/y);
    if (literal !== undefined) return literal.startsWith("'''") ? stripQuotes(literal) : literal.slice(1, -1);
    const basic = this.#match(/"""(?:[^\\]|\\[\s\S])*?"""|"(?!"")(?:[^"\\\n]|\\[^\n])*"/y);
    if (basic === undefined) throw this.#wrong('a string that ends');
    const body = basic.startsWith('"""') ? stripQuotes(basic) : basic.slice(1, -1);
    return body.replaceAll(
      /\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\s*\n\s*|([\s\S]))/g,
      (_all, short?: string, long?: string, letter?: string) => {
        const code = short ?? long;
        if (code !== undefined) return this.#character(Number.parseInt(code, 16));
        if (letter === undefined) return '';
        const escaped = ESCAPES[letter];
        if (escaped === undefined) throw this.#wrong(`another letter than "${letter}" behind a backslash`);
        return escaped;
      },
    );
  }

  #character(code: number): string {
    if (code > 0x10_ff_ff) throw this.#wrong('the number of a character');
    return String.fromCodePoint(code);
  }
}

/** Of a string over several lines; a line's end right behind the opening quotes is not part of it. */
function stripQuotes(text: string): string {
  return text.slice(3, -3).replace(/^\n/, '');
}

/** @throws HoldfastError INVALID_CONFIG naming the line of the first mistake */
export function parseToml(text: string): TomlTable {
  return new Reader(text).document();
}
