// A host that will not come back: what it held is given up when an administrator says so, and not before its lease is over.
import t from 'tap';
import { acquire } from '../../../agent/network/acquire.ts';
import { expire } from '../../../agent/network/expire.ts';
import { releaseHost } from '../../../agent/network/lost-host.ts';
import { OtherHosts } from '../../../agent/network/other-hosts.ts';
import { hostKey, type Owner } from '../../../agent/network/records.ts';
import { release } from '../../../agent/network/release.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { poolOf, sandboxOf, type TestLeases, testLeases } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;
const POOL = poolOf('default', '192.0.2.0/28');
const KEEP: Owner = { pod: { namespace: 'default', name: 'db-0' }, ip: 'keep' };
const WEB: Owner = {
  pod: { namespace: 'default', name: 'web-1' },
  app: { namespace: 'default', name: 'web' },
  ip: 'app',
};
const NONE: Owner = { pod: { namespace: 'default', name: 'job-1' }, ip: 'none' };

function start() {
  const store = memoryLeaseStore();
  const clock = { now: 1 };
  const otherHosts = new OtherHosts({ fencingDelay: 10, leaseTtl: 30, clock: () => clock.now });
  const [a, b] = [
    testLeases(store, [POOL], { host: 'a', clock, otherHosts }),
    testLeases(store, [POOL], { host: 'b', clock, otherHosts }),
  ] as const;
  const setLease = (value: string | undefined) =>
    store.commit({ expect: new Map(), write: new Map([[hostKey('a').key, value]]) }, SIGNAL);
  return { store, clock, a, b, setLease, inconsistencies: () => inconsistencies(store, [POOL]) };
}

async function add(leases: TestLeases, containerId: string, owner: Owner): Promise<readonly string[]> {
  const request = { id: sandboxOf(containerId), pool: POOL, owner, mode: 'bridge', netns: '/n', silenced: [] } as const;
  const acquired = await acquire(leases, request, SIGNAL);
  if (acquired.kind !== 'granted') throw new Error(acquired.kind);
  return acquired.grants.map(({ address }) => address);
}

t.test('its pods and apps get their addresses elsewhere, and the rest is free', async (t) => {
  const { a, b, inconsistencies } = start();
  const kept = await add(a, '1', KEEP);
  const reserved = await add(a, '2', WEB);
  const free = await add(a, '3', NONE);
  t.equal(await releaseHost(b, 'a', SIGNAL), 3);
  t.strictSame(await inconsistencies(), []);
  t.strictSame(await add(b, '4', KEEP), kept);
  t.strictSame(await add(b, '5', WEB), reserved);
  t.strictSame(await add(b, '6', NONE), free);
  t.match(
    b.told.filter(({ event }) => event === 'freed'),
    [{ address: free[0], detail: 'host a, which held it, is gone' }],
  );
  t.strictSame(await inconsistencies(), []);
  t.equal(await releaseHost(b, 'a', SIGNAL), 0, 'once more changes nothing');
});

t.test('what waits there is ended in time by the host that was told', async (t) => {
  const { a, b, clock, inconsistencies } = start();
  await add(a, '1', KEEP);
  await add(a, '2', WEB);
  await release(a, sandboxOf('1'), SIGNAL);
  await release(a, sandboxOf('2'), SIGNAL);
  await releaseHost(b, 'a', SIGNAL);
  t.strictSame(await inconsistencies(), []);
  clock.now += 100_000;
  while (await expire(b, SIGNAL)) SIGNAL.throwIfAborted();
  t.strictSame(
    (await b.store.list('address', { limit: 10 }, SIGNAL)).map(({ key }) => key),
    [],
  );
  t.strictSame(await inconsistencies(), []);
});

t.test('what a pod gets of it elsewhere has moved, whoever gave it up', async (t) => {
  const { a, b } = start();
  const grantOf = (containerId: string, owner: Owner) =>
    acquire(b, { id: sandboxOf(containerId), pool: POOL, owner, mode: 'bridge', netns: '/n', silenced: [] }, SIGNAL);
  const other: Owner = { ...KEEP, pod: { namespace: 'default', name: 'db-1' } };
  await add(a, '1', KEEP);
  await add(a, '2', other);
  await release(a, sandboxOf('2'), SIGNAL);
  await releaseHost(b, 'a', SIGNAL);
  t.match(await grantOf('3', KEEP), { isMoved: true, isChanged: true });
  t.match(await grantOf('4', other), { isMoved: true, isChanged: true });
  await release(b, sandboxOf('3'), SIGNAL);
  t.match(await grantOf('5', KEEP), { isMoved: false, isChanged: false });
});

t.test('a host that has its lease keeps what it has; a late DEL of one that was given up frees nothing', async (t) => {
  const { a, b, setLease, inconsistencies } = start();
  await add(a, '1', KEEP);
  await setLease(JSON.stringify({ identity: 'one', machine: 'a' }));
  await t.rejects(releaseHost(b, 'a', SIGNAL), { message: /has its lease/ });
  await setLease(undefined);
  await releaseHost(b, 'a', SIGNAL);
  await add(b, '2', KEEP);
  await release(a, sandboxOf('1'), SIGNAL);
  t.strictSame(await add(b, '2', KEEP), ['192.0.2.1']);
  t.strictSame(await inconsistencies(), []);
});

t.test('this host, and one that nobody shares a store with', async (t) => {
  const { b } = start();
  await t.rejects(releaseHost(b, 'b', SIGNAL), { code: 'INVALID_REQUEST' });
  await t.rejects(releaseHost(testLeases(memoryLeaseStore(), [POOL]), 'a', SIGNAL), { code: 'UNSUPPORTED' });
});
