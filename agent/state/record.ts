// One record as it is kept on disk: a format version, a checksum over name and content, and the content as JSON.
import { crc32 } from 'node:zlib';

const FORMAT = '1';

/** A record as the store holds it in memory; `json` is JSON text. */
export interface RawRecord {
  readonly table: string;
  readonly key: string;
  readonly json: string;
}

/** The name of a record in the database. Table names have no slash, so the first one ends the table's name. */
export function recordName(table: string, key: string): string {
  return `${table}/${key}`;
}

/** CRC-32 over name and content: a record that was swapped with another is as wrong as one that was changed. */
export function recordChecksum({ table, key, json }: RawRecord): number {
  return crc32(`${recordName(table, key)}\n${json}`);
}

/** `1 0a1b2c3d {"…"}` */
export function encodeRecord(record: RawRecord): string {
  return `${FORMAT} ${recordChecksum(record).toString(16).padStart(8, '0')} ${record.json}`;
}

/** undefined when the text was not written by {@link encodeRecord} for this name. */
export function decodeRecord(name: string, text: string): RawRecord | undefined {
  const slash = name.indexOf('/');
  const match = /^1 ([0-9a-f]{8}) ([\s\S]*)$/.exec(text);
  if (slash < 1 || match === null) return undefined;
  const record: RawRecord = { table: name.slice(0, slash), key: name.slice(slash + 1), json: match[2] ?? '' };
  if (recordChecksum(record) !== Number.parseInt(match[1] ?? '', 16)) return undefined;
  return isJson(record.json) ? record : undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
