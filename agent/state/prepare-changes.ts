// From what features commit to what the store keeps: every value is checked before it is written, so that nothing
// is stored that could not be read back. Pure.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { RawChange } from './records.ts';
import type { Change, Table } from './store.ts';

/** Records that no longer have their table's shape; see docs/state.md. */
export const QUARANTINE_TABLE = 'quarantine';

/** LMDB's own limit is 1978 bytes for table and key together. */
const MAX_KEY_BYTES = 512;
const MAX_VALUE_BYTES = 4 * 1024 * 1024;

/** @throws HoldfastError BUG for a name that cannot be stored */
export function checkTable(table: Table<unknown>): void {
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(table.name) || table.name === QUARANTINE_TABLE) {
    throw new HoldfastError('BUG', `"${table.name}" cannot be the name of a table`);
  }
}

/** @throws HoldfastError BUG when a value does not have its table's shape, or a key cannot be stored */
export function prepareChanges(changes: readonly Change[]): readonly RawChange[] {
  return changes.map((change) => {
    const { table, key } = change;
    checkTable(table);
    // Control characters would spoil listings; lone surrogates cannot be written as UTF-8.
    if (key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES || /[\p{Cc}\p{Cs}]/u.test(key)) {
      throw new HoldfastError('BUG', `${JSON.stringify(key.slice(0, 80))} cannot be a key of table ${table.name}`);
    }
    return change.kind === 'delete'
      ? { table: table.name, key }
      : { table: table.name, key, json: encodeValue(table, key, change.value) };
  });
}

function encodeValue(table: Table<unknown>, key: string, value: unknown): string {
  const what = `record ${table.name}/${key}`;
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new HoldfastError('BUG', `${what} is not plain data`, { cause });
  }
  if (json === undefined) throw new HoldfastError('BUG', `${what} is not plain data`);
  if (Buffer.byteLength(json) > MAX_VALUE_BYTES) throw new HoldfastError('BUG', `${what} is over 4 MiB`);
  const problem = decodeValue(table, json).problem;
  if (problem !== undefined) throw new HoldfastError('BUG', `${what} does not have its table's shape: ${problem}`);
  return json;
}

/** Reads a record of a table back: its value, or what is wrong with it. Never throws. */
export function decodeValue<Value>(
  table: Table<Value>,
  json: string,
): { readonly value: Value; readonly problem?: never } | { readonly problem: string } {
  try {
    const parsed = table.schema.safeParse(JSON.parse(json));
    if (parsed.success) return { value: parsed.data };
    const issues = parsed.error.issues.slice(0, 3);
    return { problem: issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ') };
  } catch (error) {
    return { problem: describeError(error) };
  }
}
