// The stores of addresses against their contract, and what each promises beyond it.
import t, { type Test } from 'tap';
import { EmbeddedLeaseStore } from '../../../agent/network/embedded-lease-store.ts';
import { EtcdLeaseStore } from '../../../agent/network/etcd-lease-store.ts';
import { ABSENT, type LeaseStore, storeKey } from '../../../agent/network/lease-store.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { openStore } from '../../../agent/state/open-store.ts';
import type { Change, Store } from '../../../agent/state/store.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { connectEtcd, NEEDS_ETCD, startEtcd } from '../../support/etcd.ts';
import { makeMemoryFolder } from '../../support/memory-folder.ts';
import { entries, increment, leaseStoreContract } from './lease-store-contract.ts';

const never = new AbortController().signal;

t.setTimeout(300_000);

async function openState(t: Test, directory: string): Promise<Store> {
  const { store, recovery } = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.equal(recovery, undefined);
  return store;
}

t.test('embedded', (t) => {
  leaseStoreContract(t, async () => new EmbeddedLeaseStore(new MemoryStore()));
  t.end();
});

t.test('in etcd', { skip: NEEDS_ETCD }, async (t) => {
  const { urls } = await startEtcd(t, { members: 1 });
  let stores = 0;
  leaseStoreContract(t, async (t): Promise<LeaseStore> => {
    stores += 1;
    const { keyValues, connection } = connectEtcd(t, urls, { prefix: `/contract/${stores}/` });
    return new EtcdLeaseStore({ keyValues, fence: undefined, close: () => connection.close() });
  });
});

t.test('embedded: what was committed is there after the state was opened again, under other versions', async (t) => {
  const directory = await makeMemoryFolder(t);
  const state = await openState(t, directory);
  const store = new EmbeddedLeaseStore(state);
  const write = entries({ 'pods/a': '{"ip":"10.0.0.1"}', 'pods/b': '"\\u0000 ü"', 'pods/c': '1' });
  await store.commit({ expect: new Map(), write }, never);
  await store.commit({ expect: new Map(), write: entries({ 'pods/c': undefined }) }, never);
  await Promise.all(Array.from({ length: 20 }, () => increment(store, storeKey('pods', 'counter'))));
  const before = await store.list('pods', { limit: 10 }, never);
  await store.close();
  await state.close();

  const again = await openState(t, directory);
  t.teardown(() => again.close());
  const reopened = new EmbeddedLeaseStore(again);
  const after = await reopened.list('pods', { limit: 10 }, never);
  const plain = (listed: typeof before) => listed.map(({ key, value }) => [key, value]);
  t.strictSame(plain(after), plain(before));
  t.equal(after.length, 3);
  t.equal(after.at(-1)?.value, '20');
  const stale = new Map(before.map(({ key, version }) => [key, version]));
  t.equal(await reopened.commit({ expect: stale, write: entries({ 'pods/a': '2' }) }, never), 'conflict');
});

/** A state whose commits wait until they are let go or made to fail. */
class HeldState extends MemoryStore {
  readonly waiting: { readonly keys: readonly string[]; readonly settle: (error?: Error) => void }[] = [];

  override commit(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const keys = changes.map(({ key }) => key);
      const settle = (error?: Error): void => (error === undefined ? resolve(super.commit(changes)) : reject(error));
      this.waiting.push({ keys, settle });
    });
  }

  /** Which keys are being written now. */
  async underWay(): Promise<readonly string[]> {
    // Everything that can go on without a commit that ends has gone on after this.
    await new Promise((resolve) => setImmediate(resolve));
    return this.waiting.flatMap(({ keys }) => keys);
  }

  async settle(error?: Error): Promise<void> {
    this.waiting.shift()?.settle(error);
    await this.underWay();
  }
}

t.test('embedded: a commit that fails changes nothing that can be read, and those behind it go on', async (t) => {
  const state = new HeldState();
  const store = new EmbeddedLeaseStore(state);
  const key = storeKey('a', 'b');
  const change = (value: string) => ({ expect: new Map([[key, ABSENT]]), write: new Map([[key, value]]) });
  const [failing, next] = [store.commit(change('1'), never), store.commit(change('2'), never)];
  t.strictSame(await state.underWay(), [key], 'one at a time');
  t.equal((await store.read([key], never)).size, 0, 'not visible before it is durable');
  const full = new HoldfastError('HOST_FAILURE', 'the disk is full');
  const refused = t.rejects(failing, { code: 'UNAVAILABLE', cause: full });
  await state.settle(full);
  await refused;
  t.equal((await store.read([key], never)).size, 0);
  t.strictSame(await store.list('a', { limit: 10 }, never), []);
  t.strictSame(await state.underWay(), [key]);
  await state.settle();
  t.equal(await next, 'done');
  t.equal((await store.read([key], never)).get(key)?.value, '2');
});

t.test('embedded: only changes that are in the way of each other wait', async (t) => {
  const state = new HeldState();
  const store = new EmbeddedLeaseStore(state);
  const commit = (expects: readonly string[], writes: readonly string[], signal = never) =>
    store.commit(
      {
        expect: entries(Object.fromEntries(expects.map((key) => [key, ABSENT]))),
        write: entries(Object.fromEntries(writes.map((key) => [key, '1']))),
      },
      signal,
    );
  const outcomes = [
    commit(['p/shared'], ['p/a']),
    commit(['p/shared'], ['p/b']),
    commit([], ['p/c']),
    // Writes what the first two expect, and is expected by the one behind it.
    commit([], ['p/shared']),
    commit(['p/shared'], ['p/d']),
  ];
  t.strictSame(await state.underWay(), ['p/a', 'p/b', 'p/c']);
  const enough = new AbortController();
  const givenUp = commit([], ['p/shared'], enough.signal);
  const behind = commit([], ['p/shared']);
  enough.abort(new Error('enough'));
  await t.rejects(givenUp, { message: 'enough' });
  t.strictSame(
    await state.underWay(),
    ['p/a', 'p/b', 'p/c'],
    'nobody passes those that the one that gave up waited for',
  );
  await state.settle();
  t.strictSame(await state.underWay(), ['p/b', 'p/c']);
  await state.settle();
  t.strictSame(await state.underWay(), ['p/c', 'p/shared']);
  await state.settle();
  await state.settle();
  t.strictSame(await state.underWay(), ['p/shared'], 'the last one');
  await state.settle();
  t.strictSame(await Promise.all(outcomes), ['done', 'done', 'done', 'done', 'conflict']);
  t.equal(await behind, 'done');
  await store.close();
});
