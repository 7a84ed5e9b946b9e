// A store that forgets everything when the process ends: for tests and for planning on paper.
import { HoldfastError } from '../../lib/errors.ts';
import { checkTable, decodeValue, prepareChanges } from './prepare-changes.ts';
import { Records } from './records.ts';
import type { Change, Store, Table } from './store.ts';

export class MemoryStore implements Store {
  readonly #records = new Records();
  #closed = false;

  entries<Value>(table: Table<Value>): ReadonlyMap<string, Value> {
    checkTable(table as unknown as Table<unknown>);
    const entries = new Map<string, Value>();
    for (const [key, json] of this.#records.table(table.name)) {
      // Only possible when two tables share a name: values are checked when they are committed.
      const decoded = decodeValue(table, json);
      if (decoded.problem === undefined) entries.set(key, decoded.value);
    }
    return entries;
  }

  async commit(changes: readonly Change[]): Promise<void> {
    const prepared = prepareChanges(changes);
    // Durable stores answer later too: nobody may rely on the change being there before.
    await Promise.resolve();
    if (this.#closed) throw new HoldfastError('UNAVAILABLE', 'the agent is shutting down; try again');
    for (const change of prepared) this.#records.apply(change);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}
