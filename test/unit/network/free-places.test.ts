// Addresses that are somebody's stay somebody's when the pools of the configuration change.
import t from 'tap';
import { acquire } from '../../../agent/network/acquire.ts';
import { expire } from '../../../agent/network/expire.ts';
import type { LeaseStore } from '../../../agent/network/lease-store.ts';
import type { Pool } from '../../../agent/network/pool.ts';
import type { Owner } from '../../../agent/network/records.ts';
import { release } from '../../../agent/network/release.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { poolOf, sandboxOf, subnetOfPool, type TestLeases, testLeases } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;

async function add(
  leases: TestLeases,
  containerId: string,
  pool: Pool,
  owner: Owner = { ip: 'none' },
): Promise<string> {
  const id = sandboxOf(containerId);
  const request = { id, pool, owner, mode: 'bridge', netns: '/n', silenced: [] } as const;
  const acquired = await acquire(leases, request, SIGNAL);
  if (acquired.kind !== 'granted') throw new Error('nobody has it');
  return acquired.grants.map(({ address }) => address).join();
}

t.test('a subnet that is made larger grants nothing of what pods have', async (t) => {
  const store = memoryLeaseStore();
  const small = poolOf('default', '10.0.0.0/24');
  const before = testLeases(store, [small]);
  const had: string[] = [];
  for (let n = 0; n < 100; n += 1) had.push(await add(before, `old-${n}`, small));
  const large = poolOf('default', '10.0.0.0/23');
  const after = testLeases(store, [large]);
  for (let n = 0; n < 510 - 100; n += 1) had.push(await add(after, `new-${n}`, large));
  t.equal(new Set(had).size, 510);
  await t.rejects(add(after, 'one too many', large), { code: 'NO_ROOM' });
  for (let n = 0; n < 100; n += 1) await release(after, sandboxOf(`old-${n}`), SIGNAL);
  t.equal(await add(after, 'again', large), '10.0.0.1', 'what they give back is granted');
  t.strictSame(
    (await inconsistencies(store, [large])).filter((each) => !each.includes('10.0.0.0/24')),
    [],
  );
});

t.test('a pool that is renamed grants nothing of what pods have', async (t) => {
  const store = memoryLeaseStore();
  const old = poolOf('old', '10.0.0.0/29');
  const before = testLeases(store, [old]);
  for (const id of ['1', '2', '3']) await add(before, id, old);
  const renamed = poolOf('new', '10.0.0.0/29');
  const after = testLeases(store, [renamed]);
  const granted = [];
  for (const id of ['4', '5', '6']) granted.push(await add(after, id, renamed));
  t.strictSame(granted, ['10.0.0.4', '10.0.0.5', '10.0.0.6']);
  await t.rejects(add(after, '7', renamed), { code: 'NO_ROOM' });
  await release(after, sandboxOf('2'), SIGNAL);
  t.equal(await add(after, '7', renamed), '10.0.0.2', 'what they give back is granted');
});

t.test('a subnet that moves to another pool grants nothing of what pods have', async (t) => {
  const store = memoryLeaseStore();
  const [a, b] = [poolOf('a', '10.0.0.0/29', '10.9.0.0/29'), poolOf('b', '10.1.0.0/29')];
  await add(testLeases(store, [a, b]), '1', a);
  const [laterA, laterB] = [poolOf('a', '10.9.0.0/29'), poolOf('b', '10.0.0.0/29', '10.1.0.0/29')];
  const after = testLeases(store, [laterA, laterB]);
  t.equal(await add(after, '2', laterB), '10.0.0.2');
});

t.test('an address that is excluded while a pod has it goes when the pod gives it back', async (t) => {
  const store = memoryLeaseStore();
  const whole: Pool = { name: 'p', subnets: [subnetOfPool('10.0.0.0/29')], routes: [] };
  await add(testLeases(store, [whole]), '1', whole);
  const rest: Pool = { name: 'p', subnets: [subnetOfPool('10.0.0.0/29', ['10.0.0.5-10.0.0.6'])], routes: [] };
  const after = testLeases(store, [rest]);
  await release(after, sandboxOf('1'), SIGNAL);
  t.strictSame([await add(after, '2', rest), await add(after, '3', rest)], ['10.0.0.5', '10.0.0.6']);
  await t.rejects(add(after, '4', rest), { code: 'NO_ROOM' });
});

t.test('what a pod left in one pool ends without touching what it has in another', async (t) => {
  const clock = { now: 1 };
  const store = memoryLeaseStore();
  const [a, b] = [poolOf('a', '10.0.0.0/29'), poolOf('b', '10.1.0.0/29')];
  const leases = testLeases(store, [a, b], { clock });
  const owner: Owner = { pod: { namespace: 'default', name: 'db-0' }, ip: 'keep' };
  await add(leases, '1', a, owner);
  await release(leases, sandboxOf('1'), SIGNAL);
  clock.now += 500;
  const later = await add(leases, '2', b, owner);
  await release(leases, sandboxOf('2'), SIGNAL);
  clock.now += 600;
  await expire(leases, SIGNAL);
  t.equal(await add(leases, '3', b, owner), later);
  t.strictSame(await inconsistencies(store, [a, b]), []);
});

/** The store as a host sees it: what it asks is counted, and the host can be overtaken. */
function watched(store: LeaseStore): LeaseStore & { readonly asked: string[]; overtaken: number } {
  const watching = {
    asked: [] as string[],
    overtaken: 0,
    read: (...args: Parameters<LeaseStore['read']>) => {
      watching.asked.push('read');
      return store.read(...args);
    },
    list: (...args: Parameters<LeaseStore['list']>) => {
      watching.asked.push('list');
      return store.list(...args);
    },
    commit: async (...args: Parameters<LeaseStore['commit']>): ReturnType<LeaseStore['commit']> => {
      watching.asked.push('commit');
      const [{ write }] = args;
      // Only changes that take a place: beginning a block is another change.
      const takes = [...write.keys()].some((key) => key.startsWith('address/'));
      if (!takes || watching.overtaken === 0) return await store.commit(...args);
      watching.overtaken -= 1;
      return 'conflict';
    },
    close: () => store.close(),
  };
  return watching;
}

const blockOf = (address: string): string => address.split('.').slice(0, 3).join('.');

t.test('a host that is overtaken takes the address from a block without others', async (t) => {
  const store = memoryLeaseStore();
  const pool = poolOf('p', '10.0.0.0/22');
  const one = testLeases(store, [pool], { host: 'one' });
  const view = watched(store);
  const other = testLeases(view, [pool], { host: 'other' });
  t.equal(blockOf(await add(one, 'one-1', pool)), '10.0.0');
  t.equal(blockOf(await add(other, 'other-1', pool)), '10.0.0', 'nobody is in its way');
  view.overtaken = 1;
  t.equal(blockOf(await add(other, 'other-2', pool)), '10.0.1');
  t.equal(blockOf(await add(other, 'other-3', pool)), '10.0.1', 'it stays there');
  t.equal(blockOf(await add(one, 'one-2', pool)), '10.0.0');
  t.strictSame(await inconsistencies(store, [pool]), []);
});

t.test('a host that is overtaken in the only block with room takes the address there', async (t) => {
  const store = memoryLeaseStore();
  const pool = poolOf('p', '10.0.0.0/29');
  const view = watched(store);
  const leases = testLeases(view, [pool]);
  for (const id of ['1', '2', '3', '4', '5', '6']) {
    view.overtaken = 3;
    await add(leases, id, pool);
    t.equal(view.overtaken, 0);
  }
  await t.rejects(add(leases, '7', pool), { code: 'NO_ROOM' });
  t.strictSame(await inconsistencies(store, [pool]), []);
});

t.test(
  'where a host has found room it asks the store twice for an address, and three times to give it back',
  async (t) => {
    const view = watched(memoryLeaseStore());
    const pool = poolOf('p', '10.0.0.0/24', 'fd00::/64');
    const leases = testLeases(view, [pool]);
    await add(leases, '1', pool);
    for (const id of ['2', '3']) {
      view.asked.length = 0;
      await add(leases, id, pool);
      t.strictSame(view.asked, ['read', 'commit']);
    }
    view.asked.length = 0;
    await release(leases, sandboxOf('2'), SIGNAL);
    t.strictSame(view.asked, ['read', 'read', 'commit']);
    view.asked.length = 0;
    t.equal(await add(leases, '4', pool), '10.0.0.2,fd00::2', 'what was given back first');
    t.strictSame(view.asked, ['read', 'commit']);
  },
);

t.test('a pool whose last block another host begins at this moment is not full', async (t) => {
  const store = memoryLeaseStore();
  const pool = poolOf('p', '10.0.0.0/29');
  const other = testLeases(store, [pool], { host: 'other' });
  let isFirst = true;
  const late: LeaseStore = {
    ...store,
    list: async (...args) => {
      const listed = await store.list(...args);
      if (isFirst && args[0].startsWith('open/')) {
        isFirst = false;
        await add(other, 'other', pool);
      }
      return listed;
    },
  };
  t.equal(await add(testLeases(late, [pool], { host: 'late' }), 'late', pool), '10.0.0.2');
  t.notOk(isFirst);
  t.strictSame(await inconsistencies(store, [pool]), []);
});

t.test('that all of a subnet was begun is asked once', async (t) => {
  const view = watched(memoryLeaseStore());
  const pool = poolOf('p', '10.0.0.0/30', '10.0.1.0/24');
  const leases = testLeases(view, [pool]);
  for (const id of ['1', '2', '3']) await add(leases, id, pool);
  view.asked.length = 0;
  t.equal(await add(leases, '4', pool), '10.0.1.2');
  t.strictSame(view.asked, ['read', 'list', 'read', 'commit'], 'the pod, the full subnet, the place');
});
