// What every store of addresses promises, wherever it keeps its records.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Test } from 'tap';
import {
  ABSENT,
  type LeaseStore,
  MAX_CHANGE_KEYS,
  MAX_VALUE_BYTES,
  type StoreKey,
  storeKey,
  type Version,
} from '../../../agent/network/lease-store.ts';
import { holdsAsync } from '../../support/properties.ts';

const never = new AbortController().signal;
const READ = { limit: 1000 };

export const entries = <Value>(pairs: Readonly<Record<string, Value>>): ReadonlyMap<StoreKey, Value> =>
  new Map(Object.entries(pairs).map(([key, value]) => [key as StoreKey, value]));

async function write(store: LeaseStore, values: Readonly<Record<string, string | undefined>>): Promise<void> {
  assert.equal(await store.commit({ expect: new Map(), write: entries(values) }, never), 'done');
}

async function versionOf(store: LeaseStore, key: string): Promise<Version> {
  return (await store.read([key as StoreKey], never)).get(key as StoreKey)?.version ?? ABSENT;
}

/** Adds one, again and again until it was not overtaken. @returns how often it was overtaken */
export async function increment(store: LeaseStore, key: StoreKey): Promise<number> {
  for (let conflicts = 0; ; conflicts += 1) {
    const entry = (await store.read([key], never)).get(key);
    const next = String(Number(entry?.value ?? '0') + 1);
    const change = { expect: new Map([[key, entry?.version ?? ABSENT]]), write: new Map([[key, next]]) };
    if ((await store.commit(change, never)) === 'done') return conflicts;
  }
}

/** @param open - another empty store at each call; closed by the caller */
export function leaseStoreContract(t: Test, open: (t: Test) => Promise<LeaseStore>): void {
  t.test('keys that are not there are absent, and can be expected to be', async (t) => {
    const store = await open(t);
    const [one, other] = [storeKey('pods', 'a'), storeKey('pods', 'b')];
    t.equal((await store.read([], never)).size, 0);
    t.equal((await store.read([one, other], never)).size, 0);
    t.strictSame(await store.list('pods', READ, never), []);
    const change = { expect: new Map([[one, ABSENT]]), write: new Map([[one, '"1"']]) };
    t.equal(await store.commit(change, never), 'done');
    t.equal(await store.commit(change, never), 'conflict', 'it is there now');
    const found = await store.read([one, other, one], never);
    t.strictSame([...found.keys()], [one]);
    t.equal(found.get(one)?.value, '"1"');
  });

  t.test('no two contents of a key have the same version, not after a removal either', async (t) => {
    const store = await open(t);
    const seen = new Set<string>();
    for (const value of ['1', '2', undefined, '1', '1']) {
      await write(store, { 'a/b': value });
      seen.add(await versionOf(store, 'a/b'));
    }
    t.equal(seen.size, 5);
    t.ok(seen.has(ABSENT));
  });

  t.test('a change is made as a whole, or not at all', async (t) => {
    const store = await open(t);
    // What is changed together may have the same version.
    await write(store, { 'a/1': '1', 'a/3': '3' });
    await write(store, { 'a/2': '2' });
    const before = await store.list('a', READ, never);
    const [first, second] = [await versionOf(store, 'a/1'), await versionOf(store, 'a/2')];
    const wrong = [
      { 'a/1': first, 'a/2': first },
      { 'a/1': ABSENT },
      { 'a/1': first, 'a/9': second },
      { 'a/1': 'a version of another store' as Version },
      { 'a/1': '0' as Version },
    ];
    for (const expect of wrong) {
      const change = { expect: entries(expect), write: entries({ 'a/1': 'x', 'a/3': undefined, 'a/4': 'x' }) };
      t.equal(await store.commit(change, never), 'conflict', Object.values(expect).join());
      t.strictSame(await store.list('a', READ, never), before);
    }
    const right = { 'a/1': first, 'a/2': second, 'a/4': ABSENT };
    const change = { expect: entries(right), write: entries({ 'a/1': 'x', 'a/3': undefined, 'a/4': 'y' }) };
    t.equal(await store.commit(change, never), 'done');
    t.strictSame(
      (await store.list('a', READ, never)).map(({ key, value }) => [key, value]),
      [
        ['a/1', 'x'],
        ['a/2', '2'],
        ['a/4', 'y'],
      ],
    );
    t.equal(await versionOf(store, 'a/2'), second, 'what was only expected is as it was');
  });

  t.test('expectations alone are answered, and change nothing', async (t) => {
    const store = await open(t);
    await write(store, { 'a/1': '1' });
    const expect = entries({ 'a/1': await versionOf(store, 'a/1') });
    t.equal(await store.commit({ expect, write: new Map() }, never), 'done');
    t.equal(await store.commit({ expect: entries({ 'a/1': ABSENT }), write: new Map() }, never), 'conflict');
    t.equal(await store.commit({ expect: new Map(), write: new Map() }, never), 'done');
    t.equal(
      await store.commit({ expect, write: entries({ 'a/1': undefined, 'never/there': undefined }) }, never),
      'done',
    );
    t.strictSame(await store.list('a', READ, never), []);
  });

  t.test('of writers that race for a key one wins', async (t) => {
    const store = await open(t);
    const key = storeKey('race', 'key');
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        store.commit({ expect: new Map([[key, ABSENT]]), write: new Map([[key, String(n)]]) }, never),
      ),
    );
    t.equal(outcomes.filter((outcome) => outcome === 'done').length, 1);
    t.equal((await store.read([key], never)).get(key)?.value, String(outcomes.indexOf('done')));
  });

  t.test('what another change expects does not change under it', async (t) => {
    const store = await open(t);
    await write(store, { 'skew/a': '1', 'skew/b': '1' });
    // Each may remove its key only while the other's is there: both would leave none.
    const [a, b] = [await versionOf(store, 'skew/a'), await versionOf(store, 'skew/b')];
    const outcomes = await Promise.all([
      store.commit({ expect: entries({ 'skew/a': a }), write: entries({ 'skew/b': undefined }) }, never),
      store.commit({ expect: entries({ 'skew/b': b }), write: entries({ 'skew/a': undefined }) }, never),
    ]);
    t.strictSame(outcomes.toSorted(), ['conflict', 'done']);
    t.equal((await store.list('skew', READ, never)).length, 1);
  });

  t.test('N increments side by side make N', async (t) => {
    const store = await open(t);
    const counts = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 4 });
    let run = 0;
    const property = fc.asyncProperty(counts, async (counters) => {
      run += 1;
      const keys = counters.map((_, index) => storeKey('counters', `${run}-${index}`));
      await Promise.all(
        keys.flatMap((key, index) => Array.from({ length: counters[index] ?? 0 }, () => increment(store, key))),
      );
      const found = await store.read(keys, never);
      assert.deepEqual(
        keys.map((key) => Number(found.get(key)?.value)),
        counters,
      );
    });
    await holdsAsync(t, 'each counter has been incremented as often as it was', property, 15);
  });

  t.test('a folder is listed in the order of its keys, in pages, without what only begins like it', async (t) => {
    const store = await open(t);
    const inside = ['p/a', 'p/a/b', 'p/a-b', 'p/aa', 'p/b', 'p/%2F', 'p/~', 'p/A'];
    const outside = ['pp/a', 'p-/a', 'p0/a', 'o/p', 'p%2F/a', 'P/a'];
    await write(store, Object.fromEntries([...inside, ...outside].map((key) => [key, JSON.stringify(key)])));
    const sorted = inside.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
    const keysOf = async (folder: string, limit: number, after?: string): Promise<readonly string[]> =>
      (await store.list(folder, { limit, ...(after === undefined ? {} : { after: after as StoreKey }) }, never)).map(
        ({ key, value }) => {
          t.equal(value, JSON.stringify(key));
          return key;
        },
      );
    t.strictSame(await keysOf('p', 1000), sorted);
    t.strictSame(await keysOf('p', 3), sorted.slice(0, 3));
    t.strictSame(await keysOf('p', 3, sorted[2]), sorted.slice(3, 6));
    t.strictSame(await keysOf('p', 3, 'p/a!'), sorted.filter((key) => key > 'p/a!').slice(0, 3));
    t.strictSame(await keysOf('p', 3, 'a/a'), sorted.slice(0, 3), 'after something before the folder');
    t.strictSame(await keysOf('p', 3, 'p/~'), [], 'after its last');
    t.strictSame(await keysOf('p', 3, 'z/z'), [], 'after something behind the folder');
    t.strictSame(await keysOf('p/a', 10), ['p/a/b'], 'a folder in a folder');
    t.strictSame(await keysOf('nothing', 10), []);
  });

  t.test('many keys are listed as they were at one moment', async (t) => {
    const store = await open(t);
    const keys = Array.from({ length: 450 }, (_, n) => `many/${String(n).padStart(4, '0')}`);
    for (let at = 0; at < keys.length; at += 50) {
      await write(store, Object.fromEntries(keys.slice(at, at + 50).map((key) => [key, '0'])));
    }
    t.strictSame(
      (await store.list('many', { limit: 1000 }, never)).map(({ key }) => key),
      keys,
    );
    // The first and the last are always changed together; every list must see them the same.
    const [first, last] = [keys[0] as string, keys.at(-1) as string];
    let isDone = false;
    const changing = (async () => {
      for (let n = 1; n <= 30; n += 1) await write(store, { [first]: String(n), [last]: String(n) });
      isDone = true;
    })();
    while (!isDone) {
      const found = await store.list('many', { limit: 1000 }, never);
      assert.equal(found.at(0)?.value, found.at(-1)?.value);
      const [one, other] = (await store.read([first, last] as StoreKey[], never)).values();
      assert.equal(one?.value, other?.value);
      // A store in memory answers without letting anything else go on.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await changing;
  });

  t.test('any JSON comes back as it went in', async (t) => {
    const store = await open(t);
    const key = storeKey('any', 'thing');
    const json = fc.oneof(
      fc.json(),
      fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    );
    const property = fc.asyncProperty(json, async (value) => {
      await write(store, { [key]: value });
      assert.equal((await store.read([key], never)).get(key)?.value, value);
    });
    await holdsAsync(t, 'the same text', property, 60);
    const largest = JSON.stringify('ü'.repeat((MAX_VALUE_BYTES - 2) / 2));
    await write(store, { [key]: largest });
    t.equal((await store.read([key], never)).get(key)?.value, largest);
  });

  t.test('names of any kind make keys of their own', async (t) => {
    const store = await open(t);
    const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    const property = fc.asyncProperty(part, part, async (folder, name) => {
      const key = storeKey('names', folder, name);
      await write(store, { [key]: '1' });
      const listed = await store.list(`names/${encodeURIComponent(folder)}`, READ, never);
      assert.ok(listed.some((entry) => entry.key === key));
      await write(store, { [key]: undefined });
      assert.deepEqual(await store.list('names', READ, never), []);
    });
    await holdsAsync(t, 'found below their folder, and only there', property, 30);
  });

  t.test('what is too large or no key is refused, and changes nothing', async (t) => {
    const store = await open(t);
    const many = (count: number) => Array.from({ length: count }, (_, n) => storeKey('many', String(n)));
    const wrong = [
      { expect: new Map(), write: entries({ 'a/b': 'x'.repeat(MAX_VALUE_BYTES + 1) }) },
      { expect: new Map(), write: entries({ 'a/b': 'ü'.repeat(MAX_VALUE_BYTES / 2 + 1) }) },
      { expect: new Map(), write: entries({ 'a/b': 'half of \ud83d' }) },
      { expect: new Map(), write: new Map(many(MAX_CHANGE_KEYS + 1).map((key) => [key, '1'])) },
      { expect: new Map(many(MAX_CHANGE_KEYS + 1).map((key) => [key, ABSENT])), write: entries({ 'a/b': '1' }) },
      { expect: new Map(), write: new Map(many(17).map((key) => [key, 'x'.repeat(MAX_VALUE_BYTES)])) },
      ...['', '/', 'a', 'a//b', '/a/b', 'a/b/', 'a/ü', 'a/\n', `a/${'x'.repeat(600)}`].map((key) => ({
        expect: new Map(),
        write: entries({ [key]: '1' }),
      })),
    ];
    for (const change of wrong) await t.rejects(store.commit(change, never), { code: 'INVALID_REQUEST' });
    await t.rejects(store.read(many(129), never), { code: 'INVALID_REQUEST' });
    await t.rejects(store.read(['..' as StoreKey], never), { code: 'INVALID_REQUEST' });
    for (const folder of ['', '/', 'a/', '/a', 'a//b']) {
      await t.rejects(store.list(folder, READ, never), { code: 'INVALID_REQUEST' });
    }
    for (const limit of [0, -1, 1.5, Number.NaN]) {
      await t.rejects(store.list('a', { limit }, never), { code: 'INVALID_REQUEST' });
    }
    t.strictSame(await store.list('a', READ, never), []);
    t.strictSame(await store.list('many', READ, never), []);
    const most = { expect: new Map(many(MAX_CHANGE_KEYS).map((key) => [key, ABSENT])) };
    t.equal(
      await store.commit({ ...most, write: new Map(many(MAX_CHANGE_KEYS).map((key) => [key, '1'])) }, never),
      'done',
    );
    t.equal((await store.read(many(128), never)).size, MAX_CHANGE_KEYS);
  });

  t.test('who has given up is told so, and a change that was given up before it began is not made', async (t) => {
    const store = await open(t);
    const gone = AbortSignal.abort(new Error('enough'));
    const change = { expect: new Map(), write: entries({ 'a/b': '1' }) };
    await t.rejects(store.commit(change, gone), { message: 'enough' });
    await t.rejects(store.read([storeKey('a', 'b')], gone), { message: 'enough' });
    await t.rejects(store.list('a', READ, gone), { message: 'enough' });
    t.strictSame(await store.list('a', READ, never), []);
  });

  t.test('a closed store refuses', async (t) => {
    const store = await open(t);
    await store.close();
    await store.close();
    const change = { expect: new Map(), write: entries({ 'a/b': '1' }) };
    await t.rejects(store.commit(change, never), { code: 'UNAVAILABLE' });
    await t.rejects(store.read([storeKey('a', 'b')], never), { code: 'UNAVAILABLE' });
    await t.rejects(store.list('a', READ, never), { code: 'UNAVAILABLE' });
  });
}
