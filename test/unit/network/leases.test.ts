// The rules about addresses, over a store that lets others in between any two steps: nothing is granted twice, nothing is
// lost, and everybody gets what is theirs.
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { type Acquired, acquire } from '../../../agent/network/acquire.ts';
import type { AttachmentId } from '../../../agent/network/cni/request.ts';
import { expire } from '../../../agent/network/expire.ts';
import type { LeaseContext, LeaseOptions } from '../../../agent/network/lease-context.ts';
import type { LeaseStore } from '../../../agent/network/lease-store.ts';
import type { Pool } from '../../../agent/network/pool.ts';
import type { Owner } from '../../../agent/network/records.ts';
import { release } from '../../../agent/network/release.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import {
  type Clock,
  OPTIONS,
  poolOf,
  sandboxOf as sandbox,
  subnetOfPool,
  type TestLeases,
  testLeases,
} from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;

/** Six IPv4 addresses, and as many IPv6 ones as anybody wants. */
const POOL = poolOf('default', '192.0.2.0/29', '2001:db8::/64');
const only4 = (cidr: string, ranges: readonly string[] = []): Pool => ({
  name: 'four',
  subnets: [subnetOfPool(cidr, ranges)],
  routes: [],
});

const host = (
  name: string,
  store: LeaseStore,
  clock: Clock = { now: 1 },
  pools: readonly Pool[] = [POOL],
  options: Partial<LeaseOptions> = {},
): TestLeases => testLeases(store, pools, { host: name, clock, ...options });

function podOf(name: string, ip: Owner['ip'], app = 'web'): Owner {
  return { pod: { namespace: 'default', name }, app: { namespace: 'default', name: app }, ip };
}

async function add(
  context: LeaseContext,
  id: AttachmentId,
  owner: Owner,
  pool: Pool = POOL,
  silenced: readonly AttachmentId[] = [],
): Promise<readonly string[]> {
  const acquired: Acquired = await acquire(context, { id, pool, owner, mode: 'bridge', netns: '/n', silenced }, SIGNAL);
  if (acquired.kind === 'silence') return await add(context, id, owner, pool, [...silenced, acquired.holder]);
  if (acquired.kind === 'elsewhere') throw new Error(`${acquired.address} is held on host ${acquired.host}`);
  return acquired.grants.map(({ address }) => address);
}

async function assertConsistent(t: Test, store: LeaseStore, pools: readonly Pool[] = [POOL]): Promise<void> {
  t.strictSame(await inconsistencies(store, pools), []);
}

t.test('one address of each family, and none that a subnet keeps for itself', async (t) => {
  const store = memoryLeaseStore();
  const addresses = await add(host('a', store), sandbox('1'), podOf('x', 'none'));
  t.strictSame(addresses, ['192.0.2.1', '2001:db8::1']);
  t.strictSame(await add(host('a', store), sandbox('1'), podOf('x', 'none')), addresses, 'asked again: the same');
  await assertConsistent(t, store);
});

t.test('all families or none', async (t) => {
  const store = memoryLeaseStore();
  const context = host('a', store);
  for (let n = 0; n < 6; n += 1) await add(context, sandbox(`${n}`), podOf(`x${n}`, 'none'));
  await t.rejects(add(context, sandbox('7'), podOf('x7', 'none')), { code: 'NO_ROOM', message: /IPv4/ });
  await assertConsistent(t, store);
  await release(context, sandbox('3'), SIGNAL);
  t.strictSame(await add(context, sandbox('7'), podOf('x7', 'none')), ['192.0.2.4', '2001:db8::4']);
});

t.test('keep: the pod has its addresses again, whoever asked in between, until its time is over', async (t) => {
  const clock = { now: 1 };
  const store = memoryLeaseStore();
  const context = host('a', store, clock);
  const first = await add(context, sandbox('1'), podOf('db-0', 'keep'));
  await release(context, sandbox('1'), SIGNAL);
  t.not((await add(context, sandbox('2'), podOf('other', 'none')))[0], first[0]);
  t.strictSame(await add(context, sandbox('3'), podOf('db-0', 'keep')), first);
  await release(context, sandbox('3'), SIGNAL);
  await assertConsistent(t, store);
  clock.now += OPTIONS.keepFor - 1;
  t.equal(await expire(context, SIGNAL), false);
  t.strictSame(await add(context, sandbox('4'), podOf('db-0', 'keep')), first);
  await release(context, sandbox('4'), SIGNAL);
  clock.now += OPTIONS.keepFor;
  await expire(context, SIGNAL);
  await assertConsistent(t, store);
  t.strictSame(await add(context, sandbox('5'), podOf('new', 'none')), first, 'then it is anybody’s');
  t.not((await add(context, sandbox('6'), podOf('db-0', 'keep')))[0], first[0]);
  await assertConsistent(t, store);
});

t.test('keep: a pod of the same name in another namespace gets nothing of it', async (t) => {
  const store = memoryLeaseStore();
  const context = host('a', store);
  const first = await add(context, sandbox('1'), podOf('db-0', 'keep'));
  await release(context, sandbox('1'), SIGNAL);
  const thief: Owner = { pod: { namespace: 'evil', name: 'db-0' }, ip: 'keep' };
  t.not((await add(context, sandbox('2'), thief))[0], first[0]);
});

t.test('keep: taken over from an earlier sandbox, whose late release then frees nothing', async (t) => {
  const store = memoryLeaseStore();
  const context = host('a', store);
  const owner = podOf('db-0', 'keep');
  const first = await add(context, sandbox('old'), owner);
  const request = { id: sandbox('new'), pool: POOL, owner, mode: 'bridge', netns: '/n', silenced: [] } as const;
  t.strictSame(await acquire(context, request, SIGNAL), { kind: 'silence', holder: sandbox('old') });
  t.strictSame(await add(context, sandbox('new'), owner), first);
  await release(context, sandbox('old'), SIGNAL);
  await assertConsistent(t, store);
  t.not((await add(context, sandbox('other'), podOf('other', 'none')))[0], first[0]);
  await t.rejects(add(host('b', store), sandbox('b'), owner), { message: /held on host a/ }, 'another host waits');
});

t.test('app: the most recent of the reserve, the same host’s first, and nobody else’s', async (t) => {
  const clock = { now: 1 };
  const store = memoryLeaseStore();
  const [a, b] = [host('a', store, clock), host('b', store, clock)];
  const given = new Map<string, string | undefined>();
  for (const [n, context] of [a, a, b].entries()) {
    given.set(`${n}`, (await add(context, sandbox(`${n}`), podOf(`web-${n}`, 'app')))[0]);
  }
  for (const [n, context] of [a, a, b].entries()) {
    clock.now += 1;
    await release(context, sandbox(`${n}`), SIGNAL);
  }
  await assertConsistent(t, store);
  const stranger = await add(a, sandbox('s'), podOf('s', 'app', 'another-app'));
  t.notOk([...given.values()].includes(stranger[0]), 'not another app’s');
  t.equal((await add(a, sandbox('3'), podOf('web-3', 'app')))[0], given.get('1'), 'the most recent of this host');
  t.equal((await add(a, sandbox('4'), podOf('web-4', 'app')))[0], given.get('0'));
  t.equal((await add(a, sandbox('5'), podOf('web-5', 'app')))[0], given.get('2'), 'then of another host');
  t.notOk([...given.values()].includes((await add(a, sandbox('6'), podOf('web-6', 'app')))[0]), 'then a free one');
  await assertConsistent(t, store);
});

t.test('app: the reserve has a cap, and its oldest go', async (t) => {
  const clock = { now: 1 };
  const store = memoryLeaseStore();
  const context = host('a', store, clock);
  for (let n = 0; n < 5; n += 1) await add(context, sandbox(`${n}`), podOf(`web-${n}`, 'app'));
  for (let n = 0; n < 5; n += 1) {
    clock.now += 1;
    await release(context, sandbox(`${n}`), SIGNAL);
  }
  await assertConsistent(t, store);
  const freed = context.told.filter(({ event }) => event === 'freed').map(({ address }) => address);
  t.strictSame(freed, ['192.0.2.1', '2001:db8::1', '192.0.2.2', '2001:db8::2']);
  clock.now += OPTIONS.reserve.keepFor + 1;
  await expire(context, SIGNAL);
  t.strictSame(
    [...store.entries.keys()].filter((key) => /^(?:address|reserve|kept|expiry|attachment)\//.test(key)),
    [],
    'nothing is left',
  );
});

t.test('an address that was given back is left alone for a while', async (t) => {
  const clock = { now: 1 };
  const store = memoryLeaseStore();
  const pool = only4('192.0.2.0/30');
  const context = host('a', store, clock, [pool], { cooldown: 100 });
  t.strictSame(await add(context, sandbox('1'), podOf('x', 'none'), pool), ['192.0.2.1']);
  await release(context, sandbox('1'), SIGNAL);
  t.strictSame(await add(context, sandbox('2'), podOf('y', 'none'), pool), ['192.0.2.2']);
  await t.rejects(add(context, sandbox('3'), podOf('z', 'none'), pool), { code: 'NO_ROOM' });
  clock.now += 100;
  t.strictSame(await add(context, sandbox('3'), podOf('z', 'none'), pool), ['192.0.2.1']);
  await assertConsistent(t, store, [pool]);
});

t.test('a few addresses at the end of a large subnet are found', async (t) => {
  const store = memoryLeaseStore();
  const pool = only4('10.0.0.0/8', ['10.255.255.1-10.255.255.2', '10.3.0.7']);
  const context = host('a', store, undefined, [pool]);
  const found = [];
  for (const id of ['1', '2', '3']) found.push(...(await add(context, sandbox(id), podOf(id, 'none'), pool)));
  t.strictSame(found, ['10.3.0.7', '10.255.255.1', '10.255.255.2']);
  await t.rejects(add(context, sandbox('4'), podOf('4', 'none'), pool), { code: 'NO_ROOM' });
});

t.test('a pool of many blocks is used to its last address by hosts that all ask at once', async (t) => {
  const store = memoryLeaseStore();
  const pool = only4('10.0.0.0/22');
  const hosts = ['a', 'b', 'c', 'd'].map((name) => host(name, store, undefined, [pool]));
  const granted = await Promise.all(
    hosts.map(async (context, n) => {
      const own: string[] = [];
      for (let pod = 0; pod < 1022 / 4 - 1; pod += 1) {
        own.push(...(await add(context, sandbox(`${n}-${pod}`), podOf(`p${n}-${pod}`, 'none'), pool)));
      }
      return own;
    }),
  );
  const all = granted.flat();
  t.equal(new Set(all).size, all.length);
  const left = 1022 - all.length;
  const last = hosts[0];
  if (last === undefined) throw new Error('there are four');
  for (let n = 0; n < left; n += 1) all.push(...(await add(last, sandbox(`l${n}`), podOf(`l${n}`, 'none'), pool)));
  t.equal(new Set(all).size, 1022);
  await t.rejects(add(last, sandbox('one too many'), podOf('m', 'none'), pool), { code: 'NO_ROOM' });
  await assertConsistent(t, store, [pool]);
});

/** One thing that happens to one of few sandboxes on one of two hosts. */
type Step =
  | { readonly do: 'add'; readonly host: 0 | 1; readonly pod: number; readonly ip: Owner['ip'] }
  | { readonly do: 'release'; readonly pod: number }
  | { readonly do: 'expire'; readonly host: 0 | 1; readonly after: number };

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('add' as const),
      host: fc.constantFrom(0 as const, 1 as const),
      pod: fc.nat(9),
      ip: fc.constantFrom('none' as const, 'keep' as const, 'app' as const),
    }),
    fc.record({ do: fc.constant('release' as const), pod: fc.nat(9) }),
    fc.record({
      do: fc.constant('expire' as const),
      host: fc.constantFrom(0 as const, 1 as const),
      after: fc.nat(1200),
    }),
  ),
  { maxLength: 40, size: 'max' },
);

t.test('whatever happens at once, no address is anybody’s twice, and in the end all are free', async () => {
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.infiniteStream(fc.nat(2)),
      fc.integer({ min: 1, max: 6 }),
      async (all, pauses, width) => {
        const pauseLengths = pauses[Symbol.iterator]();
        const store = memoryLeaseStore(async () => {
          const turns = pauseLengths.next().value ?? 0;
          for (let turn = 0; turn < turns; turn += 1) await setImmediate();
        });
        const clock = { now: 1 };
        const hosts = [host('a', store, clock), host('b', store, clock)] as const;
        /** Where each pod runs, and what it was told it has. */
        const running = new Map<number, { readonly host: 0 | 1; readonly addresses: readonly string[] }>();
        const busy = new Set<number>();
        const one = async (step: Step, index: number): Promise<void> => {
          if (step.do === 'expire') {
            clock.now += step.after;
            await expire(hosts[step.host], SIGNAL);
            return;
          }
          if (busy.has(step.pod)) return;
          busy.add(step.pod);
          try {
            const there = running.get(step.pod);
            if (step.do === 'release') {
              if (there === undefined) return;
              running.delete(step.pod);
              await release(hosts[there.host], sandbox(`${step.pod}`), SIGNAL);
            } else if (there === undefined) {
              const owner = podOf(`p${step.pod}`, step.ip, `app-${step.pod % 2}`);
              const addresses = await add(hosts[step.host], sandbox(`${step.pod}`), owner).catch((error: unknown) => {
                if (error instanceof Error && 'code' in error && error.code === 'NO_ROOM') return undefined;
                throw error;
              });
              if (addresses === undefined) return;
              const others = [...running.values()].flatMap((each) => each.addresses);
              const twice = addresses.filter((address) => others.includes(address));
              if (twice.length > 0) throw new Error(`step ${index}: ${twice.join()} is granted twice`);
              running.set(step.pod, { host: step.host, addresses });
            }
          } finally {
            busy.delete(step.pod);
          }
        };
        for (let from = 0; from < all.length; from += width) {
          await Promise.all(all.slice(from, from + width).map((step, index) => one(step, from + index)));
        }
        const before = await inconsistencies(store, [POOL]);
        if (before.length > 0) throw new Error(before.join('\n'));
        for (const [pod, { host: where }] of running) await release(hosts[where], sandbox(`${pod}`), SIGNAL);
        clock.now += 10_000;
        for (const each of hosts) while (await expire(each, SIGNAL));
        const left = [...store.entries.keys()].filter((key) => !/^(?:block|open|subnet)\//.test(key));
        if (left.length > 0) throw new Error(`left: ${left.join(' ')}`);
        const after = await inconsistencies(store, [POOL]);
        if (after.length > 0) throw new Error(after.join('\n'));
      },
    ),
    { numRuns: 150 },
  );
});
