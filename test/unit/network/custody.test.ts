// Hosts that share a store: a pod's address follows it from host to host, no two hosts speak with it, and a store that is away
// keeps nobody from being restarted.
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { PodLinks } from '../../../agent/host/network/pod-links.ts';
import type { Address } from '../../../agent/model/address.ts';
import type { LeaseStore } from '../../../agent/network/lease-store.ts';
import { listAttachments } from '../../../agent/network/list-attachments.ts';
import { hostNameOf, macOf } from '../../../agent/network/plan-link.ts';
import { addressKey } from '../../../agent/network/records.ts';
import { parseRecord } from '../../../agent/network/transaction.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { type MemoryLeaseStore, memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { holdsAsync } from '../../support/properties.ts';
import { type SharingHost, sharingHost } from '../../support/sharing-hosts.ts';
import { poolOf, sandboxOf } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;
const POOL = poolOf('default', '192.0.2.0/29');
const ADDRESS = '192.0.2.1';

async function twoHosts(): Promise<{
  readonly store: MemoryLeaseStore;
  readonly a: SharingHost;
  readonly b: SharingHost;
}> {
  const store = memoryLeaseStore();
  const [a, b] = [sharingHost('a', store, POOL), sharingHost('b', store, POOL)];
  await a.regain();
  await b.regain();
  return { store, a, b };
}

const consistent = async (t: Test, store: LeaseStore): Promise<void> =>
  void t.strictSame(await inconsistencies(store, [POOL]), []);

async function holderOf(store: LeaseStore, address = ADDRESS): Promise<string> {
  const { key, schema } = addressKey('default', address as never);
  const text = (await store.read([key], SIGNAL)).get(key)?.value;
  if (text === undefined) return 'nobody';
  const { state } = parseRecord(key, schema, text);
  return state.kind === 'held' ? `${state.host} ${state.containerId}` : state.kind;
}

t.test('a pod that moves finds its address on the other host, and neighbours are told', async (t) => {
  const { store, a, b } = await twoHosts();
  t.strictSame(await a.add('1'), [ADDRESS]);
  await a.del('1');
  t.strictSame(await b.add('2'), [ADDRESS]);
  t.equal(await holderOf(store), 'b 2');
  t.ok(b.links.calls.includes(`announce ${hostNameOf(sandboxOf('2'))}`));
  t.notOk(
    a.links.calls.some((call) => call.startsWith('announce')),
    'a new address is no news',
  );
  await consistent(t, store);
});

t.test('what another host holds is not granted while that host has its lease', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  await t.rejects(b.add('2'), { code: 'UNAVAILABLE', message: /still held on host a/ });
  t.equal(await holderOf(store), 'a 1');
  await a.lose();
  t.strictSame(a.speaking(), [], 'who has lost the lease is silent before anybody can know');
  await t.rejects(b.add('2'), { code: 'UNAVAILABLE' }, 'the store still has it');
  await a.expire();
  t.strictSame(await b.add('2'), [ADDRESS]);
  t.equal(await holderOf(store), 'b 2');
});

t.test('a host that comes back late leaves what was taken over to its new holder', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  await a.lose();
  await a.expire();
  await b.add('2');
  await a.regain();
  t.strictSame(a.speaking(), []);
  t.strictSame(b.speaking(), [ADDRESS]);
  await a.del('1');
  t.equal(await holderOf(store), 'b 2', 'a late DEL frees nothing of it');
  await consistent(t, store);
});

t.test('a pod’s address that a silent host still answers for is asked for again at the next try', async (t) => {
  const { a, b } = await twoHosts();
  await a.add('1');
  await a.lose();
  await a.expire();
  b.links.use(ADDRESS, macOf(ADDRESS as Address));
  const add = (containerId: string) =>
    b.attachments().add(
      {
        command: 'ADD',
        id: sandboxOf(containerId),
        netns: `/run/netns/${containerId}`,
        config: { name: 'pods', dataPlane: { mode: 'bridge', bridge: 'br', uplink: 'eth0', hairpin: false } },
        pod: { namespace: 'default', name: 'db-0', annotations: { 'holdfast.dev/ip': 'keep' } },
      },
      SIGNAL,
    );
  await t.rejects(add('2'), { code: 'UNAVAILABLE', message: /still answers for 192\.0\.2\.1/ });
  await t.rejects(add('3'), { code: 'UNAVAILABLE', message: /still answers for 192\.0\.2\.1/ });
  t.strictSame(b.speaking(), []);
});

t.test('what nobody took over goes up again, also after another start of the agent', async (t) => {
  const { store, a } = await twoHosts();
  await a.add('1');
  await a.add('2', 'web', {});
  await a.lose();
  t.strictSame(a.speaking(), ['192.0.2.2'], 'what nobody could take over stays up');
  t.match(a.custody().state, { hasLease: false, down: 1 });
  await a.expire();
  await a.regain();
  t.strictSame(a.speaking().toSorted(), [ADDRESS, '192.0.2.2']);
  t.match(a.custody().state, { hasLease: true, down: 0 });
  await a.lose();
  await a.restart();
  await a.regain();
  t.strictSame(a.speaking().toSorted(), [ADDRESS, '192.0.2.2']);
  await consistent(t, store);
});

t.test('an agent that is started without the store takes down what could be taken over', async (t) => {
  const { a } = await twoHosts();
  await a.add('1');
  await a.lose();
  await a.restart();
  a.line = 'away';
  a.links.appear(hostNameOf(sandboxOf('1')), [ADDRESS]);
  while (a.speaking().length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  t.pass('it is down');
  await a.custody().close();
});

t.test('a lease that ends while a pod is joined: its interface is taken off again', async (t) => {
  const { a, store } = await twoHosts();
  a.links.once('attach', async () => void a.lose());
  await t.rejects(a.add('1'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
  await a.regain();
  await a.custody().settle(SIGNAL);
  t.equal(await holderOf(store), 'kept');
  await consistent(t, store);
});

t.test('a lease that ends while a pod is joined once more, after the agent had died in the middle', async (t) => {
  const { a } = await twoHosts();
  await a.add('1');
  a.links.vanish(hostNameOf(sandboxOf('1')));
  a.links.once('attach', async () => void a.lose());
  await t.rejects(a.add('1'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
});

t.test('a lease that ends and begins anew while a pod is joined: somebody else may have its address', async (t) => {
  const { a, b } = await twoHosts();
  a.links.once('attach', async () => {
    await a.lose();
    await a.expire();
    await b.add('2');
    void a.regain();
    await aWhile();
  });
  await t.rejects(a.add('1'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
  t.strictSame(
    a.links.calls.filter((call) => call.startsWith('announce')),
    [],
  );
  await a.custody().idle();
  t.strictSame(b.speaking(), [ADDRESS]);
});

t.test('store away: pods of this host are restarted, and the store is told later', async (t) => {
  const { store, a } = await twoHosts();
  await a.add('1');
  a.line = 'away';
  await a.del('1');
  t.strictSame(await a.add('2'), [ADDRESS], 'the pod goes on');
  t.strictSame(a.speaking(), [ADDRESS]);
  await t.rejects(a.add('9', 'new-pod'), { code: 'UNAVAILABLE' }, 'a new pod waits');
  await a.del('9');
  await a.del('2');
  t.strictSame(await a.add('3'), [ADDRESS], 'and once more');
  t.match(a.custody().state, { untold: 1 });
  a.line = 'there';
  await a.custody().settle(SIGNAL);
  t.equal(await holderOf(store), 'a 3');
  t.match(a.custody().state, { untold: 0 });
  await a.del('1');
  t.equal(await holderOf(store), 'a 3', 'a late DEL of the first frees nothing');
  await consistent(t, store);
  await a.del('3');
  t.equal(await holderOf(store), 'kept');
  await consistent(t, store);
});

t.test('store away: what it may have been told is given up is not inherited', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  a.line = 'away after the next change';
  await a.del('1');
  await t.rejects(a.add('2'), { code: 'UNAVAILABLE' });
  t.strictSame(await b.add('3'), [ADDRESS], 'for it may be on another host by now');
  a.line = 'there';
  await a.custody().settle(SIGNAL);
  t.equal(await holderOf(store), 'b 3');
  await consistent(t, store);
});

t.test('store away: what a later sandbox has got is not given back with an earlier one', async (t) => {
  const { store, a } = await twoHosts();
  await a.add('1');
  a.line = 'away';
  await a.del('1');
  await a.add('2');
  a.line = 'there';
  await a.del('1');
  t.equal(await holderOf(store), 'a 1', 'the store has not been told of the second one yet');
  t.strictSame(await a.add('3'), [ADDRESS], 'nobody has taken the second one off');
  t.strictSame(a.speaking(), [ADDRESS], 'it is silenced, and not only the one that the store knows');
  t.equal(await holderOf(store), 'a 3');
  await a.custody().settle(SIGNAL);
  await a.del('2');
  t.equal(await holderOf(store), 'a 3');
  await consistent(t, store);
});

t.test('store away: who has a lease again, and has not seen what is still its own, inherits nothing', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  await a.lose();
  await a.expire();
  await b.add('2');
  a.line = 'away';
  await a.regain();
  await t.rejects(a.add('3'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
  a.line = 'there';
  await a.custody().settle(SIGNAL);
  t.equal(await holderOf(store), 'b 2');
});

t.test('store away: what is taken off is given back later; who had no lease inherits nothing', async (t) => {
  const { store, a } = await twoHosts();
  await a.add('1');
  a.line = 'away';
  await a.del('1');
  await a.lose();
  await t.rejects(a.add('2'), { code: 'UNAVAILABLE' });
  t.equal(await holderOf(store), 'a 1');
  a.line = 'there';
  await a.regain();
  t.equal(await holderOf(store), 'kept');
  await consistent(t, store);
});

t.test('store away: a pod that another host has got meanwhile is silenced when the store says so', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  a.line = 'away';
  await a.del('1');
  await a.add('2');
  await a.lose();
  t.strictSame(a.speaking(), []);
  await a.expire();
  t.strictSame(await b.add('3'), [ADDRESS]);
  a.line = 'there';
  await a.regain();
  t.strictSame(a.speaking(), []);
  t.equal(await holderOf(store), 'b 3');
  await a.del('2');
  t.equal(await holderOf(store), 'b 3');
  await consistent(t, store);
});

t.test('store away: a sandbox that cannot be looked at keeps no other from going on', async (t) => {
  const { a } = await twoHosts();
  const [broken, sound] = [await a.add('1', 'db-0'), await a.add('2', 'db-1')];
  await a.lose();
  a.links.once('resume', async () => {
    throw new HoldfastError('PRECONDITION', 'somebody changed the interface');
  });
  await a.regain();
  t.strictSame(a.speaking(), sound);
  a.line = 'away';
  await a.del('1');
  await a.del('2');
  t.strictSame(await a.add('3', 'db-1'), sound);
  await t.rejects(a.add('4', 'db-0'), { code: 'UNAVAILABLE' });
  a.line = 'there';
  await a.custody().settle(SIGNAL);
  t.strictSame(await a.add('5', 'db-0'), broken);
});

t.test('a store that has lost its data is told of what pods have', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  await a.add('2', 'web', {});
  for (const key of store.entries.keys()) {
    await store.commit({ expect: new Map(), write: new Map([[key, undefined]]) }, SIGNAL);
  }
  await a.lose();
  await b.lose();
  await a.regain();
  t.equal(await holderOf(store), 'a 1');
  t.strictSame(a.speaking().toSorted(), [ADDRESS, '192.0.2.2']);
  await consistent(t, store);
  await b.regain();
  t.strictSame(await b.add('3', 'other', {}), ['192.0.2.3'], 'nobody else gets them');
  await consistent(t, store);
});

t.test('a store that has granted the lost address to somebody else is right', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1', 'web', {});
  for (const key of store.entries.keys()) {
    if (!key.startsWith('hosts/b'))
      await store.commit({ expect: new Map(), write: new Map([[key, undefined]]) }, SIGNAL);
  }
  t.strictSame(await b.add('2', 'other', {}), [ADDRESS]);
  await a.lose();
  await a.regain();
  t.strictSame(a.speaking(), []);
  t.equal(await holderOf(store), 'b 2');
  await consistent(t, store);
});

t.test('store away: what went to another host is not inherited, long after it was seen there', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  await a.lose();
  await a.expire();
  await b.add('2');
  await a.regain();
  a.line = 'away';
  await t.rejects(a.add('3'), { code: 'UNAVAILABLE' });
  await a.del('1');
  await t.rejects(a.add('4'), { code: 'UNAVAILABLE' }, 'nor when the one that had it is taken off');
  t.strictSame(a.speaking(), []);
  a.line = 'there';
  await a.custody().settle(SIGNAL);
  t.equal(await holderOf(store), 'b 2');
  await consistent(t, store);
});

t.test('store away: what a later sandbox had is not inherited from an earlier one that nobody took off', async (t) => {
  const { store, a, b } = await twoHosts();
  await a.add('1');
  await a.add('2');
  await a.del('2');
  await b.add('3');
  a.line = 'away';
  await t.rejects(a.add('4'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
  t.equal(await holderOf(store), 'b 3');
});

t.test('store away: what it may have granted anew before that is not forgotten', async (t) => {
  const { store, a } = await twoHosts();
  await a.add('1', 'web', {});
  a.line = 'away after the next change';
  t.strictSame(await a.add('2', 'web', {}), [ADDRESS], 'the pod goes on with what it had');
  a.line = 'there';
  await a.custody().settle(SIGNAL);
  await consistent(t, store);
  t.equal(await holderOf(store, '192.0.2.2'), 'nobody');
  await a.del('1');
  await a.del('2');
  await consistent(t, store);
  t.equal(await holderOf(store), 'nobody');
});

t.test('store away: what was on its way to be given back when nobody waited any more is not inherited', async (t) => {
  const store = memoryLeaseStore();
  const ending = new AbortController();
  let isSlow = false;
  const slow: LeaseStore = {
    ...store,
    commit: async (change, signal) => {
      const outcome = await store.commit(change, signal);
      if (!isSlow) return outcome;
      ending.abort();
      throw ending.signal.reason;
    },
  };
  const [a, b] = [sharingHost('a', slow, POOL), sharingHost('b', store, POOL)];
  await a.regain();
  await b.regain();
  await a.add('1');
  a.line = 'away';
  await a.del('1');
  a.line = 'there';
  isSlow = true;
  await t.rejects(a.custody().settle(ending.signal));
  t.strictSame(await b.add('2'), [ADDRESS]);
  a.line = 'away';
  await t.rejects(a.add('3'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
});

/** A host that has lost its lease and has it again, and has not been able to look at what is its own. */
async function uncertain(a: SharingHost): Promise<void> {
  await a.lose();
  a.line = 'away';
  await a.regain();
  a.line = 'there';
}

/** Opens after the next few steps of others at the soonest. */
async function aWhile(): Promise<void> {
  for (let count = 0; count < 50; count += 1) await setImmediate();
}

t.test('a lease that ends while an interface comes back: it goes down again', async (t) => {
  const { a } = await twoHosts();
  await a.add('1');
  await uncertain(a);
  let losing: Promise<void> | undefined;
  a.links.once('resume', async () => {
    losing = a.lose();
    await aWhile();
  });
  await a
    .custody()
    .settle(SIGNAL)
    .catch(() => undefined);
  await losing;
  t.strictSame(a.speaking(), []);
  await a.regain();
  t.strictSame(a.speaking(), [ADDRESS]);
});

t.test(
  'an interface that comes back while the pod’s next sandbox takes its address: only the next one speaks',
  async (t) => {
    const { a } = await twoHosts();
    await a.add('1');
    await uncertain(a);
    let adding: Promise<unknown> | undefined;
    a.links.once('resume', async () => {
      adding = a.add('2');
      await aWhile();
    });
    await a.custody().settle(SIGNAL);
    t.strictSame(await adding, [ADDRESS]);
    t.strictSame(a.links.clashes, []);
    t.strictSame(a.speaking(), [ADDRESS]);
  },
);

t.test('a lease that is there again while an interface goes down: it comes back all the same', async (t) => {
  const { a } = await twoHosts();
  await a.add('1');
  a.links.once('quiesce', aWhile);
  const losing = a.lose();
  await a.regain();
  await losing;
  t.strictSame(a.speaking(), [ADDRESS]);
  t.match(a.custody().state, { down: 0 });
});

t.test('store away: a look under an earlier lease does not tell what is still this host’s', async (t) => {
  const { a, b } = await twoHosts();
  await a.add('1');
  await uncertain(a);
  const gate = new AbortController();
  a.links.once('resume', async () => void (await once(gate.signal, 'abort')));
  const looking = a
    .custody()
    .settle(SIGNAL)
    .catch(() => undefined);
  await aWhile();
  const losing = a.lose();
  await a.expire();
  await b.add('2');
  a.line = 'away';
  const regaining = a.regain();
  await aWhile();
  gate.abort();
  await Promise.all([looking, losing, regaining]);
  await t.rejects(a.add('3'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
});

t.test('store away: what it could not be told under an earlier lease is not inherited', async (t) => {
  const store = memoryLeaseStore();
  let failures = 0;
  const flaky: LeaseStore = {
    ...store,
    read: async (keys, signal) => {
      if (failures === 0 || !keys.some((key) => key.startsWith('attachment/'))) return await store.read(keys, signal);
      failures -= 1;
      throw new HoldfastError('UNAVAILABLE', 'the store is away for a moment');
    },
  };
  const [a, b] = [sharingHost('a', flaky, POOL), sharingHost('b', store, POOL)];
  await a.regain();
  await b.regain();
  await a.add('1');
  a.line = 'away';
  await a.del('1');
  await a.lose();
  await a.expire();
  await b.add('2');
  a.line = 'there';
  failures = 1;
  await a.regain();
  a.line = 'away';
  await t.rejects(a.add('3'), { code: 'UNAVAILABLE' });
  t.strictSame(a.speaking(), []);
});

type Action =
  | { readonly kind: 'add' | 'del'; readonly host: number; readonly pod: number }
  | { readonly kind: 'lose' | 'expire' | 'regain' | 'restart' | 'away' | 'unknown' | 'there'; readonly host: number };

const hostNumber = fc.nat({ max: 2 });
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constantFrom('add', 'del'), host: hostNumber, pod: fc.nat({ max: 1 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('lose', 'expire', 'regain', 'restart', 'away', 'unknown', 'there'),
      host: hostNumber,
    }),
  },
);

/** When all is well again: everything tells one story, and nothing is left when the last sandbox is gone. */
async function nothingIsLeft(
  store: MemoryLeaseStore,
  hosts: readonly SharingHost[],
  sandboxes: ReadonlyMap<string, { readonly host: SharingHost }>,
): Promise<void> {
  for (const host of hosts) {
    host.line = 'there';
    await host.regain();
    await host.custody().settle(SIGNAL);
  }
  const problems = await inconsistencies(store, [POOL]);
  if (problems.length > 0) throw new Error(problems.join('; '));
  for (const [id, { host }] of sandboxes) await host.del(id);
  // What the store was told of, and the host was not, is the collector's.
  for (const host of hosts) {
    for (const { id } of await listAttachments(host.leases, SIGNAL)) await host.attachments().detach(id, SIGNAL);
  }
  const held = [...store.entries].filter(([, { value }]) => value.includes('"kind":"held"'));
  if (held.length > 0) throw new Error(`held by nobody: ${JSON.stringify(held)}`);
  const left = [...(await inconsistencies(store, [POOL])), ...hosts.flatMap((host) => host.speaking())];
  if (left.length > 0) throw new Error(left.join('; '));
  const known = hosts.flatMap((host) => host.custody().held());
  if (known.length > 0) throw new Error(`not forgotten: ${JSON.stringify(known)}`);
  for (const host of hosts) await host.custody().close();
}

t.test('whatever happens to hosts, leases and the store, no two interfaces have one address', async (t) => {
  await holdsAsync(
    t,
    'one address, one interface',
    fc.asyncProperty(fc.array(action, { maxLength: 40, size: 'max' }), async (actions) => {
      const store = memoryLeaseStore();
      const hosts = ['a', 'b', 'c'].map((name) => sharingHost(name, store, POOL));
      const sandboxes = new Map<string, { readonly host: SharingHost; readonly pod: number }>();
      const hasLease = new Set<SharingHost>();
      let sequence = 0;
      for (const host of hosts) {
        await host.regain();
        hasLease.add(host);
      }
      for (const each of actions) {
        const host = hosts[each.host] as SharingHost;
        switch (each.kind) {
          case 'add': {
            sequence += 1;
            const id = `s${sequence}`;
            sandboxes.set(id, { host, pod: each.pod });
            await host.add(id, `pod-${each.pod}`).catch(() => undefined);
            break;
          }
          case 'del':
            for (const [id, { host: on, pod }] of sandboxes) {
              if (on !== host || pod !== each.pod) continue;
              await host.del(id).then(
                () => sandboxes.delete(id),
                () => undefined,
              );
            }
            break;
          case 'lose':
            hasLease.delete(host);
            await host.lose();
            break;
          case 'expire':
            // Never before the host knows.
            if (!hasLease.has(host)) await host.expire();
            break;
          case 'regain':
            if (host.line === 'there') {
              await host.regain();
              hasLease.add(host);
            }
            break;
          case 'restart':
            hasLease.delete(host);
            await host.lose();
            await host.restart();
            break;
          case 'away':
            host.line = 'away';
            break;
          case 'unknown':
            if (host.line === 'there') host.line = 'away after the next change';
            break;
          case 'there':
            host.line = 'there';
            if (hasLease.has(host)) await host.custody().settle(SIGNAL);
            break;
        }
        const speaking = hosts.flatMap((one) => one.speaking());
        if (new Set(speaking).size < speaking.length) throw new Error(`two speak: ${speaking.join()}`);
      }
      await nothingIsLeft(store, hosts, sandboxes);
    }),
    80,
  );
});

/** One that has no effect on the others of the same time. */
type Step = Exclude<Action['kind'], 'restart'> | 'settle';

const step = fc.record({
  kind: fc.constantFrom<Step>(
    ...(['add', 'add', 'add', 'del', 'del', 'settle', 'lose', 'expire', 'regain', 'regain'] as const),
    ...(['away', 'unknown', 'there'] as const),
  ),
  host: hostNumber,
  pod: fc.nat({ max: 1 }),
});

/** Each wait takes as many steps of others as the next number says, over and over. */
function pausing(lengths: readonly number[]): () => Promise<void> {
  let next = 0;
  return async () => {
    const length = lengths[next % lengths.length] ?? 0;
    next += 1;
    for (let count = 0; count <= length; count += 1) await setImmediate();
  };
}

t.test('and whatever happens at the same time', async (t) => {
  await holdsAsync(
    t,
    'one address, one interface, and none without a lease',
    fc.asyncProperty(
      fc.array(fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 6 }), restarted: fc.option(hostNumber) }), {
        maxLength: 10,
        size: 'max',
      }),
      fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 40, size: 'max' }),
      async (rounds, lengths) => {
        const pause = pausing(lengths);
        const store = memoryLeaseStore(pause);
        const hosts = ['a', 'b', 'c'].map((name) => sharingHost(name, store, POOL));
        for (const { links } of hosts) {
          const fast: PodLinks = { ...links };
          Object.assign(links, {
            attach: (...given: Parameters<PodLinks['attach']>) => pause().then(() => fast.attach(...given)),
            resume: (...given: Parameters<PodLinks['resume']>) => pause().then(() => fast.resume(...given)),
            quiesce: (...given: Parameters<PodLinks['quiesce']>) => pause().then(() => fast.quiesce(...given)),
          });
        }
        const sandboxes = new Map<string, { readonly host: SharingHost; readonly pod: number; isAdded: boolean }>();
        const hasLease = new Set<SharingHost>();
        const add = async (host: SharingHost, pod: number): Promise<void> => {
          const id = `s${sandboxes.size + 1}`;
          const sandbox = { host, pod, isAdded: false };
          sandboxes.set(id, sandbox);
          await host.add(id, `pod-${pod}`).catch(() => undefined);
          sandbox.isAdded = true;
        };
        const del = async (host: SharingHost, pod: number): Promise<void> => {
          const own = [...sandboxes].filter(([, each]) => each.host === host && each.pod === pod);
          await Promise.all(own.map(([id]) => host.del(id).catch(() => undefined)));
        };
        const regain = async (host: SharingHost): Promise<void> => {
          await host.regain();
          hasLease.add(host);
        };
        const take = async (kind: Step, host: SharingHost, pod: number): Promise<void> => {
          switch (kind) {
            case 'add':
              return await add(host, pod);
            case 'del':
              return await del(host, pod);
            case 'settle':
              return await host
                .custody()
                .settle(SIGNAL)
                .catch(() => undefined);
            case 'lose':
              hasLease.delete(host);
              return await host.lose();
            case 'expire':
              return await host.expire();
            case 'regain':
              return await regain(host);
            case 'away':
            case 'there':
              host.line = kind;
              return;
            case 'unknown':
              if (host.line === 'there') host.line = 'away after the next change';
          }
        };
        for (const host of hosts) await regain(host);
        for (const { steps, restarted } of rounds) {
          const changed = new Set<SharingHost>();
          const isPossible = (kind: Step, host: SharingHost): boolean => {
            if (kind !== 'lose' && kind !== 'expire' && kind !== 'regain') return true;
            // A lease ends in the store when its host is silent, and begins when the host reaches the store.
            if (changed.has(host) || (kind === 'expire' && hasLease.has(host))) return false;
            changed.add(host);
            return kind !== 'regain' || host.line === 'there';
          };
          await Promise.all(
            steps.map(async ({ kind, host: index, pod }) => {
              const host = hosts[index] as SharingHost;
              if (isPossible(kind, host)) await take(kind, host, pod);
            }),
          );
          await Promise.all(hosts.map((host) => host.custody().idle()));
          if (restarted !== null) {
            const host = hosts[restarted] as SharingHost;
            hasLease.delete(host);
            await host.lose();
            await host.restart();
          }
          const speaking = hosts.flatMap((host) => host.speaking());
          if (new Set(speaking).size < speaking.length) throw new Error(`two speak: ${speaking.join()}`);
          const silent = hosts.filter((host) => !hasLease.has(host));
          if (silent.some((host) => host.speaking().length > 0)) throw new Error('it speaks without a lease');
          const clashes = hosts.flatMap(({ links }) => links.clashes);
          if (clashes.length > 0) throw new Error(`two of one host spoke: ${clashes.join()}`);
        }
        await nothingIsLeft(store, hosts, sandboxes);
      },
    ),
    60,
  );
});
