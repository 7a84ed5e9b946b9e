// The second copy of all records: a text file with a checksum per line, replaced as a whole. It is what is left when
// the database is damaged.
import fs from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { describeError, isErrno } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord, type RawRecord, recordName } from './record.ts';
import type { Records } from './records.ts';

export const SNAPSHOT_FILE = 'snapshot.jsonl';

const FORMAT = 'holdfast-state-1';

/** Bounds what a damaged or foreign file can make us read. */
const MAX_BYTES = 512 * 1024 * 1024;

export interface Snapshot {
  readonly records: readonly RawRecord[];
  /** Number of the last transaction in it. */
  readonly sequence: number;
  /** Milliseconds since the epoch. */
  readonly writtenAt: number;
  /** Lines that were damaged or missing. */
  readonly lost: number;
}

export type SnapshotResult =
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged'; readonly reason: string }
  | { readonly kind: 'read'; readonly snapshot: Snapshot };

/** A header line, then one line per record: `["table/key", "1 crc json"]`. */
export function formatSnapshot(records: Records, sequence: number, writtenAt: number): string {
  const body: string[] = [];
  for (const record of records.all()) {
    body.push(`${JSON.stringify([recordName(record.table, record.key), encodeRecord(record)])}\n`);
  }
  const header = JSON.stringify({ format: FORMAT, sequence, writtenAt, count: body.length });
  return `${JSON.stringify([header, crc32(header)])}\n${body.join('')}`;
}

function parseHeader(
  line: string,
): { readonly sequence: number; readonly writtenAt: number; readonly count: number } | undefined {
  const pair = parsePair(line);
  if (pair === undefined || typeof pair[0] !== 'string' || crc32(pair[0]) !== pair[1]) return undefined;
  const header: unknown = JSON.parse(pair[0]);
  if (typeof header !== 'object' || header === null) return undefined;
  const { format, sequence, writtenAt, count } = header as Readonly<Record<string, unknown>>;
  if (format !== FORMAT) return undefined;
  if (typeof sequence !== 'number' || typeof writtenAt !== 'number' || typeof count !== 'number') return undefined;
  return { sequence, writtenAt, count };
}

function parsePair(line: string): readonly [unknown, unknown] | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return Array.isArray(value) && value.length === 2 ? [value[0], value[1]] : undefined;
  } catch {
    return undefined;
  }
}

/** Reads what {@link formatSnapshot} wrote; good lines of a damaged file are kept. undefined when nothing can be. */
export function parseSnapshot(text: string): Snapshot | undefined {
  const [first = '', ...lines] = text.split('\n');
  const header = parseHeader(first);
  if (header === undefined) return undefined;
  const records = new Map<string, RawRecord>();
  for (const line of lines) {
    const pair = line === '' ? undefined : parsePair(line);
    if (typeof pair?.[0] !== 'string' || typeof pair[1] !== 'string') continue;
    const record = decodeRecord(pair[0], pair[1]);
    if (record !== undefined) records.set(pair[0], record);
  }
  return {
    records: [...records.values()],
    sequence: header.sequence,
    writtenAt: header.writtenAt,
    lost: Math.max(0, header.count - records.size),
  };
}

/** Never throws: a snapshot that cannot be read is damaged. */
export async function readSnapshot(directory: string): Promise<SnapshotResult> {
  const file = path.join(directory, SNAPSHOT_FILE);
  try {
    const stat = await fs.lstat(file);
    if (!stat.isFile()) return { kind: 'damaged', reason: `${SNAPSHOT_FILE} is not a regular file` };
    if (stat.size > MAX_BYTES) return { kind: 'damaged', reason: `${SNAPSHOT_FILE} has ${stat.size} bytes` };
    const snapshot = parseSnapshot(await fs.readFile(file, 'utf8'));
    if (snapshot === undefined) return { kind: 'damaged', reason: `${SNAPSHOT_FILE} has no valid header` };
    return { kind: 'read', snapshot };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { kind: 'absent' };
    return { kind: 'damaged', reason: describeError(error) };
  }
}

/** Replaces the snapshot; durable when it resolves. A crash or an error on the way leaves the old one. */
export async function writeSnapshot(directory: string, text: string): Promise<void> {
  const target = path.join(directory, SNAPSHOT_FILE);
  const temporary = `${target}.new`;
  try {
    await using file = await fs.open(temporary, 'w', 0o600);
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    // Half a snapshot on a full disk would keep the database from the rest of it.
    await fs.rm(temporary, { force: true });
    throw error;
  }
  await fs.rename(temporary, target);
  await syncDirectory(directory);
}

/** Makes renames in the directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await fs.open(directory, 'r');
  await handle.sync();
}
