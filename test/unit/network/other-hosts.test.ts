// When what another host held may be taken over: not while it has a lease, and not before it surely is silent.
import t from 'tap';
import { acquire } from '../../../agent/network/acquire.ts';
import { OtherHosts } from '../../../agent/network/other-hosts.ts';
import { hostKey } from '../../../agent/network/records.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { poolOf, sandboxOf, testLeases } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;

function otherHosts() {
  const clock = { now: 1000 };
  return { clock, hosts: new OtherHosts({ fencingDelay: 10, leaseTtl: 30, clock: () => clock.now }) };
}

t.test('a host with a lease is waited for without an end', async (t) => {
  t.equal(otherHosts().hosts.waitFor('a', true), undefined);
});

t.test('the delay begins with the first look that finds no lease, and goes on with every further one', async (t) => {
  const { clock, hosts } = otherHosts();
  t.equal(hosts.waitFor('a', false), 10);
  clock.now += 4;
  t.equal(hosts.waitFor('a', false), 6);
  t.equal(hosts.waitFor('b', false), 10, 'each host has its own');
  clock.now += 6;
  t.equal(hosts.waitFor('a', false), 0);
  clock.now += 20;
  t.equal(hosts.waitFor('a', false), 0);
});

t.test('it begins again when the host had a lease meanwhile, or may have had one', async (t) => {
  const { clock, hosts } = otherHosts();
  hosts.waitFor('a', false);
  clock.now += 10;
  t.equal(hosts.waitFor('a', true), undefined);
  t.equal(hosts.waitFor('a', false), 10, 'it was seen');
  clock.now += 30;
  t.equal(hosts.waitFor('a', false), 10, 'as long as a lease lives, nobody has looked');
});

t.test(
  'the address of a pod whose host is gone is granted after the delay, if the host has no lease then',
  async (t) => {
    const { clock, hosts } = otherHosts();
    const store = memoryLeaseStore();
    const pool = poolOf('default', '192.0.2.0/29');
    const a = testLeases(store, [pool], { host: 'a' });
    const b = testLeases(store, [pool], { host: 'b', otherHosts: hosts });
    const owner = { pod: { namespace: 'default', name: 'db-0' }, ip: 'keep' } as const;
    const askedBy = (containerId: string) =>
      ({ id: sandboxOf(containerId), pool, owner, mode: 'bridge', netns: '/n', silenced: [] }) as const;
    await acquire(a, askedBy('1'), SIGNAL);
    const put = (value: string | undefined) =>
      store.commit({ expect: new Map(), write: new Map([[hostKey('a').key, value]]) }, SIGNAL);
    const lease = JSON.stringify({ identity: 'one', machine: 'a' });
    await put(lease);
    t.match(await acquire(b, askedBy('2'), SIGNAL), { kind: 'elsewhere', host: 'a', waitMs: undefined });
    await put(undefined);
    t.match(await acquire(b, askedBy('2'), SIGNAL), { kind: 'elsewhere', host: 'a', waitMs: 10 });
    clock.now += 10;
    const late = testLeases(
      {
        ...store,
        // The host has its lease again between the look and the change.
        commit: async (change, signal) => {
          await put(lease);
          return await store.commit(change, signal);
        },
      },
      [pool],
      { host: 'b', otherHosts: hosts },
    );
    t.match(await acquire(late, askedBy('2'), SIGNAL), { kind: 'elsewhere', waitMs: undefined });
    await put(undefined);
    t.match(await acquire(b, askedBy('2'), SIGNAL), { kind: 'elsewhere', waitMs: 10 });
    clock.now += 10;
    t.match(await acquire(b, askedBy('2'), SIGNAL), { kind: 'granted', isMoved: true, isChanged: true });
  },
);
