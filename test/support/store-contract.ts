// What every store promises, whatever it keeps its records in.
import fc from 'fast-check';
import type { Test } from 'tap';
import { z } from 'zod';
import { del, put, type Store, type Table } from '../../agent/state/store.ts';

const NUMBERS: Table<{ readonly n: number }> = { name: 'numbers', schema: z.object({ n: z.number() }) };
const TEXTS: Table<string> = { name: 'texts', schema: z.string() };

/** @param open - a fresh, empty store */
export function storeContract(t: Test, open: (t: Test) => Promise<Store>): void {
  t.test('what was committed is there, by table and key', async (t) => {
    const store = await open(t);
    t.equal(store.entries(NUMBERS).size, 0);
    await store.commit([put(NUMBERS, 'a', { n: 1 }), put(NUMBERS, 'b/c', { n: 2 }), put(TEXTS, 'a', 'x')]);
    await store.commit([put(NUMBERS, 'a', { n: 3 }), del(NUMBERS, 'b/c'), del(TEXTS, 'never there')]);
    t.strictSame([...store.entries(NUMBERS)], [['a', { n: 3 }]]);
    t.strictSame([...store.entries(TEXTS)], [['a', 'x']]);
    await store.commit([]);
  });

  t.test('later changes of one commit win', async (t) => {
    const store = await open(t);
    await store.commit([
      put(TEXTS, 'a', '1'),
      del(TEXTS, 'a'),
      put(TEXTS, 'a', '2'),
      put(TEXTS, 'b', '1'),
      del(TEXTS, 'b'),
    ]);
    t.strictSame([...store.entries(TEXTS)], [['a', '2']]);
  });

  t.test('entries are copies: nobody changes the store through them, nor through what was committed', async (t) => {
    const store = await open(t);
    const value = { n: 1 };
    const done = store.commit([put(NUMBERS, 'a', value)]);
    value.n = 2;
    await done;
    const entries = store.entries(NUMBERS) as Map<string, { n: number }>;
    t.strictSame(entries.get('a'), { n: 1 });
    Object.assign(entries.get('a') ?? {}, { n: 3 });
    entries.delete('a');
    t.strictSame(store.entries(NUMBERS).get('a'), { n: 1 });
  });

  t.test('a commit with something that cannot be stored changes nothing', async (t) => {
    const store = await open(t);
    const cyclic: { n: number; self?: unknown } = { n: 1 };
    cyclic.self = cyclic;
    const bad = [
      put(NUMBERS, 'bad', { n: 'text' } as unknown as { n: number }),
      put(NUMBERS, 'bad', cyclic),
      put(NUMBERS, 'bad', undefined as unknown as { n: number }),
      put(NUMBERS, '', { n: 1 }),
      put(NUMBERS, 'line\nbreak', { n: 1 }),
      put(NUMBERS, 'lone \ud800', { n: 1 }),
      put(NUMBERS, 'x'.repeat(600), { n: 1 }),
      put({ ...NUMBERS, name: 'quarantine' }, 'bad', { n: 1 }),
      put({ ...NUMBERS, name: 'no/slash' }, 'bad', { n: 1 }),
      put(TEXTS, 'bad', 'x'.repeat(5 * 1024 * 1024)),
    ];
    for (const change of bad) {
      await t.rejects(store.commit([put(NUMBERS, 'good', { n: 1 }), change]), { code: 'BUG' });
    }
    t.equal(store.entries(NUMBERS).size, 0);
  });

  t.test('concurrent commits all take effect, in the order in which they were asked for', async (t) => {
    const store = await open(t);
    await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        store.commit([put(NUMBERS, `k${n % 10}`, { n }), put(NUMBERS, 'last', { n })]),
      ),
    );
    t.equal(store.entries(NUMBERS).size, 11);
    t.strictSame(store.entries(NUMBERS).get('last'), { n: 199 });
    t.strictSame(store.entries(NUMBERS).get('k3'), { n: 193 });
  });

  t.test('a closed store refuses', async (t) => {
    const store = await open(t);
    await store.commit([put(TEXTS, 'a', 'x')]);
    await store.close();
    await store.close();
    await t.rejects(store.commit([put(TEXTS, 'b', 'x')]), { code: 'UNAVAILABLE' });
  });

  t.test('any plain data comes back as it went in', async (t) => {
    const store = await open(t);
    const anything: Table<unknown> = { name: 'anything', schema: z.unknown() };
    const key = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 60 })
      .filter((text) => !/[\p{Cc}\p{Cs}]/u.test(text));
    await fc.assert(
      fc.asyncProperty(key, fc.jsonValue(), async (name, value) => {
        await store.commit([put(anything, name, value)]);
        const expected: unknown = JSON.parse(JSON.stringify(value));
        t.strictSame(store.entries(anything).get(name), expected);
      }),
      { numRuns: 100 },
    );
  });
}
