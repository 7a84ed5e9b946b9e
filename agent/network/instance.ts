// Which agent this is, among those that may share a host: another one's interfaces are not ours to collect.
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { put, type Store, type Table } from '../state/store.ts';

const INSTANCE: Table<{ readonly id: string }> = {
  name: 'network-instance',
  schema: z.object({ id: z.string().regex(/^[0-9a-f]{6}$/) }),
};
const KEY = 'own';

/** Six hexadecimal digits: the same as long as the state lasts, another one after its loss. */
export async function instanceOf(store: Store): Promise<string> {
  const known = store.entries(INSTANCE).get(KEY);
  if (known !== undefined) return known.id;
  const id = randomBytes(3).toString('hex');
  await store.commit([put(INSTANCE, KEY, { id })]);
  return id;
}
