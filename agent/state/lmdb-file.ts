// How the database file is laid out, and what is in it when it is complete. Only the keeper process opens it: damage
// in the file can kill the process that maps it.
import { decodeRecord, type RawRecord } from './record.ts';
import { type Digest, Records } from './records.ts';

export const DATABASE_FILE = 'state.mdb';

/** LMDB's table of readers; made anew whenever it is missing. */
export const DATABASE_LOCK_FILE = `${DATABASE_FILE}-lock`;

/** The record that each transaction rewrites. No slash: no table's record can have its name. */
export const META_NAME = 'meta';

/** Tells a complete and current database from one that lost pages but still reads well. */
export interface Meta extends Digest {
  /** Number of the transaction. */
  readonly sequence: number;
}

/** A name and a text, as LMDB has them. */
export type StoredPair = readonly [name: string, value: string];

export type DatabaseContent =
  /** There was no file, or nothing was ever committed to it. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged'; readonly reason: string }
  | { readonly kind: 'intact'; readonly records: readonly RawRecord[]; readonly sequence: number };

function parseMeta(text: string): Meta | undefined {
  try {
    const meta: unknown = JSON.parse(text);
    if (typeof meta !== 'object' || meta === null) return undefined;
    const { sequence, count, mix } = meta as Readonly<Record<string, unknown>>;
    if (typeof sequence !== 'number' || typeof count !== 'number' || typeof mix !== 'number') return undefined;
    return { sequence, count, mix };
  } catch {
    return undefined;
  }
}

/** Judges all that was read from a database; pure. */
export function judgeContent(pairs: readonly StoredPair[]): DatabaseContent {
  if (pairs.length === 0) return { kind: 'absent' };
  const records: RawRecord[] = [];
  let meta: Meta | undefined;
  for (const [name, value] of pairs) {
    if (name === META_NAME) {
      meta = parseMeta(value);
      continue;
    }
    const record = decodeRecord(name, value);
    if (record === undefined) {
      return { kind: 'damaged', reason: `record ${JSON.stringify(name.slice(0, 80))} does not match its checksum` };
    }
    records.push(record);
  }
  if (meta === undefined) return { kind: 'damaged', reason: 'its description is missing' };
  const { count, mix } = new Records(records).digest;
  if (count !== meta.count) {
    return { kind: 'damaged', reason: `it has ${count} records where ${meta.count} were written` };
  }
  if (mix !== meta.mix) return { kind: 'damaged', reason: 'some of its records are not the last ones written' };
  return { kind: 'intact', records, sequence: meta.sequence };
}
