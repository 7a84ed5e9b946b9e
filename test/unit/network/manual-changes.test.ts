// What an administrator changes by hand: reserves that are made, and addresses that are given back before their time.
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { acquire } from '../../../agent/network/acquire.ts';
import { releaseWaiting, reserveFor } from '../../../agent/network/manual-changes.ts';
import type { Owner } from '../../../agent/network/records.ts';
import { release } from '../../../agent/network/release.ts';
import {
  type ReserveAddressesRequest,
  ReserveAddressesRequestSchema,
} from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { poolOf, sandboxOf, type TestLeases, type TestLeasesOptions, testLeases } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;
const POOL = poolOf('default', '192.0.2.0/29', '2001:db8::/64');
const APP: Owner = {
  pod: { namespace: 'default', name: 'web-1' },
  app: { namespace: 'default', name: 'web' },
  ip: 'app',
};

const requestOf = (count = 1, more: Partial<ReserveAddressesRequest> = {}): ReserveAddressesRequest =>
  create(ReserveAddressesRequestSchema, { namespace: 'default', app: 'web', pool: '', count, ...more });

function start(options: TestLeasesOptions = {}) {
  const leases = testLeases(memoryLeaseStore(), [POOL], options);
  const reserve = (request: ReserveAddressesRequest) => reserveFor(leases, 'default', request, SIGNAL);
  return { leases, reserve, inconsistencies: () => inconsistencies(leases.store, [POOL]) };
}

async function add(leases: TestLeases, containerId: string, owner: Owner): Promise<readonly string[]> {
  const request = { id: sandboxOf(containerId), pool: POOL, owner, mode: 'bridge', netns: '/n', silenced: [] } as const;
  const acquired = await acquire(leases, request, SIGNAL);
  return acquired.kind === 'granted' ? acquired.grants.map(({ address }) => address) : [];
}

t.test('what is reserved is the app’s and nobody else’s', async (t) => {
  const { leases, reserve, inconsistencies } = start();
  const reserved = await reserve(requestOf(2));
  t.strictSame(reserved, ['192.0.2.1', '2001:db8::1', '192.0.2.2', '2001:db8::2']);
  t.strictSame(await inconsistencies(), []);
  t.strictSame(await add(leases, '1', { ip: 'none' }), ['192.0.2.3', '2001:db8::3']);
  t.strictSame(await add(leases, '2', { ...APP, app: { namespace: 'evil', name: 'web' } }), [
    '192.0.2.4',
    '2001:db8::4',
  ]);
  t.strictSame(await add(leases, '3', APP), ['192.0.2.2', '2001:db8::2']);
  t.strictSame(await inconsistencies(), []);
});

t.test('more than the cap, the pool or one call has are refused', async (t) => {
  const { reserve, inconsistencies } = start({ reserve: { cap: 2, keepFor: 1000 } });
  await t.rejects(reserve(requestOf(3)), { code: 'PRECONDITION' });
  await t.rejects(reserve(requestOf(17)), { code: 'INVALID_REQUEST' });
  await t.rejects(reserve(requestOf(0)), { code: 'INVALID_REQUEST' });
  await t.rejects(reserve(requestOf(1, { pool: 'nowhere' })), { code: 'INVALID_REQUEST', message: /default/ });
  await t.rejects(reserve(requestOf(1, { app: '' })), { code: 'INVALID_REQUEST' });
  for (const app of ['b', 'c']) await reserve(requestOf(2, { app }));
  await t.rejects(reserve(requestOf(1, { app: 'd' })), { code: 'NO_ROOM' });
  t.strictSame(await inconsistencies(), []);
});

t.test('what waits is given back; what a sandbox has is not', async (t) => {
  const { leases, reserve, inconsistencies } = start();
  await reserve(requestOf(1));
  await releaseWaiting(leases, '2001:DB8::1', SIGNAL);
  await t.rejects(releaseWaiting(leases, '2001:db8::1', SIGNAL), { code: 'NOT_FOUND' });
  await t.rejects(releaseWaiting(leases, 'nonsense', SIGNAL), { code: 'INVALID_REQUEST' });
  t.strictSame(await inconsistencies(), []);
  t.strictSame(await add(leases, '1', APP), ['192.0.2.1', '2001:db8::1'], 'half of it waited on');
  await t.rejects(releaseWaiting(leases, '192.0.2.1', SIGNAL), { code: 'PRECONDITION' });
  await add(leases, '2', { pod: { namespace: 'default', name: 'db-0' }, ip: 'keep' });
  await release(leases, sandboxOf('2'), SIGNAL);
  await releaseWaiting(leases, '192.0.2.2', SIGNAL);
  t.strictSame(await inconsistencies(), []);
  t.match(leases.told.at(-1), { event: 'freed', pod: { name: 'db-0' } });
});

t.test('a cap that is lowered costs no sandbox its removal', async (t) => {
  const pool = poolOf('default', '10.0.0.0/23', '2001:db8::/64');
  const store = memoryLeaseStore();
  const before = testLeases(store, [pool], { reserve: { cap: 100, keepFor: 1000 } });
  for (let n = 0; n < 4; n += 1) await reserveFor(before, 'default', requestOf(16), SIGNAL);
  const after = testLeases(store, [pool], { reserve: { cap: 1, keepFor: 1000 } });
  for (let n = 0; n < 30; n += 1) {
    const request = { id: sandboxOf('1'), pool, owner: APP, mode: 'bridge', netns: '/n', silenced: [] } as const;
    await acquire(after, request, SIGNAL);
    await release(after, sandboxOf('1'), SIGNAL);
  }
  t.equal((await store.list('address', { limit: 999 }, SIGNAL)).length, 2);
  t.strictSame(await inconsistencies(store, [pool]), []);
});
