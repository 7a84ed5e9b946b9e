// A lease store of plain maps, with the limits of a real one and the pauses between its steps: for tests of the rules above
// it.
import { setImmediate } from 'node:timers/promises';
import { checkChange, checkList, checkRead } from '../../agent/network/check-request.ts';
import {
  ABSENT,
  type Entry,
  type LeaseStore,
  type ListedEntry,
  type StoreKey,
  type Version,
} from '../../agent/network/lease-store.ts';

export interface MemoryLeaseStore extends LeaseStore {
  readonly entries: ReadonlyMap<StoreKey, Entry>;
}

/** @param pause - before each step takes effect and before it is answered */
export function memoryLeaseStore(pause: () => Promise<unknown> = () => setImmediate()): MemoryLeaseStore {
  const entries = new Map<StoreKey, Entry>();
  let changes = 0;
  return {
    entries,
    read: async (keys) => {
      checkRead(keys);
      await pause();
      const found = keys.map((key) => [key, entries.get(key)] as const);
      await pause();
      return new Map(found.filter((each): each is [StoreKey, Entry] => each[1] !== undefined));
    },
    list: async (folder, { limit, after }) => {
      checkList(folder, limit);
      await pause();
      return [...entries]
        .filter(([key]) => key.startsWith(`${folder}/`) && (after === undefined || key > after))
        .map(([key, entry]): ListedEntry => ({ key, ...entry }))
        .toSorted((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, limit);
    },
    commit: async ({ expect, write }) => {
      checkChange({ expect, write });
      await pause();
      for (const [key, version] of expect) {
        if ((entries.get(key)?.version ?? ABSENT) !== version) return 'conflict';
      }
      for (const [key, value] of write) {
        changes += 1;
        if (value === undefined) entries.delete(key);
        else entries.set(key, { value, version: `${changes}` as Version });
      }
      await pause();
      return 'done';
    },
    close: async () => undefined,
  };
}
