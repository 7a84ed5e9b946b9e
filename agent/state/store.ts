// Durable records in named tables. Features read at start, keep their own view, and commit every change.
import type { z } from 'zod';

/** A table: a name, and the shape that every record in it must have when it is read back. */
export interface Table<Value> {
  readonly name: string;
  readonly schema: z.ZodType<Value>;
}

export interface Put<Value = unknown> {
  readonly kind: 'put';
  readonly table: Table<Value>;
  readonly key: string;
  readonly value: Value;
}

export interface Delete {
  readonly kind: 'delete';
  readonly table: Table<unknown>;
  readonly key: string;
}

export type Change = Put | Delete;

/** A change that writes a record. */
export function put<Value>(table: Table<Value>, key: string, value: Value): Change {
  return { kind: 'put', table: table as unknown as Table<unknown>, key, value };
}

/** A change that removes a record; nothing happens when there is none. */
export function del<Value>(table: Table<Value>, key: string): Change {
  return { kind: 'delete', table: table as unknown as Table<unknown>, key };
}

export interface Store {
  /** A copy of all records of the table, by key. Records are plain JSON data. */
  entries<Value>(table: Table<Value>): ReadonlyMap<string, Value>;
  /** All or nothing; durable when it resolves. @throws HoldfastError HOST_FAILURE when the disk refuses */
  commit(changes: readonly Change[]): Promise<void>;
  close(): Promise<void>;
}
