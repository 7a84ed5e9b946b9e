// All records in memory, with a digest that tells whether a set read back from disk is complete.
import { type RawRecord, recordChecksum } from './record.ts';

/** A change after checking: `json` absent means that the record goes. */
export interface RawChange {
  readonly table: string;
  readonly key: string;
  readonly json?: string;
}

/** Count and exclusive-or of the checksums: equal for equal sets, whatever the order. */
export interface Digest {
  readonly count: number;
  readonly mix: number;
}

export class Records {
  readonly #tables = new Map<string, Map<string, string>>();
  #count = 0;
  #mix = 0;

  constructor(records: Iterable<RawRecord> = []) {
    for (const record of records) this.apply(record);
  }

  get digest(): Digest {
    return { count: this.#count, mix: this.#mix >>> 0 };
  }

  apply({ table, key, json }: RawChange): void {
    const records = this.#tables.get(table) ?? new Map<string, string>();
    const before = records.get(key);
    if (before !== undefined) this.#account({ table, key, json: before }, -1);
    if (json === undefined) records.delete(key);
    else {
      records.set(key, json);
      this.#account({ table, key, json }, 1);
    }
    if (records.size === 0) this.#tables.delete(table);
    else this.#tables.set(table, records);
  }

  #account(record: RawRecord, step: 1 | -1): void {
    this.#count += step;
    this.#mix ^= recordChecksum(record);
  }

  /** JSON texts by key. */
  table(name: string): ReadonlyMap<string, string> {
    return this.#tables.get(name) ?? new Map();
  }

  *all(): IterableIterator<RawRecord> {
    for (const [table, records] of this.#tables) {
      for (const [key, json] of records) yield { table, key, json };
    }
  }
}

/** What the digest becomes when the changes are applied; the records stay as they are. */
export function digestAfter(records: Records, changes: readonly RawChange[]): Digest {
  let { count, mix } = records.digest;
  const seen = new Map<string, RawChange>();
  for (const change of changes) {
    const { table, key } = change;
    const name = `${table}/${key}`;
    const before = seen.has(name) ? seen.get(name)?.json : records.table(table).get(key);
    if (before !== undefined) {
      count -= 1;
      mix ^= recordChecksum({ table, key, json: before });
    }
    if (change.json !== undefined) {
      count += 1;
      mix ^= recordChecksum({ table, key, json: change.json });
    }
    seen.set(name, change);
  }
  return { count, mix: mix >>> 0 };
}

/** Values by table and key. */
export type PlainRecords = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Records as plain data; for people. */
export function recordsToPlain(records: Records): PlainRecords {
  const tables = new Map<string, Map<string, unknown>>();
  for (const { table, key, json } of records.all()) {
    const entries = tables.get(table) ?? new Map<string, unknown>();
    entries.set(key, JSON.parse(json));
    tables.set(table, entries);
  }
  return Object.fromEntries([...tables].map(([table, entries]) => [table, Object.fromEntries(entries)] as const));
}
