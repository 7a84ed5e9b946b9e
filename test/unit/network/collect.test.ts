// What nobody takes off is collected, what somebody may be using is not, and one failure does not keep the rest waiting.
import { pino } from 'pino';
import t from 'tap';
import { acquire } from '../../../agent/network/acquire.ts';
import { Collector } from '../../../agent/network/collect.ts';
import { releaseHost } from '../../../agent/network/lost-host.ts';
import { Owners } from '../../../agent/network/owners.ts';
import { hostNameOf } from '../../../agent/network/plan-link.ts';
import type { Owner } from '../../../agent/network/records.ts';
import { release } from '../../../agent/network/release.ts';
import type { RuntimeSandbox } from '../../../agent/runtime/runtime.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { fakePodLinks } from '../../support/fake-pod-links.ts';
import { fakeSandbox } from '../../support/fake-runtime.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { sharingHost } from '../../support/sharing-hosts.ts';
import { testAttachments } from '../../support/test-attachments.ts';
import { poolOf, sandboxOf, testLeases } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;
const POOL = poolOf('default', '192.0.2.0/28');
const GRACE = 100;
const POD: Owner = { pod: { namespace: 'default', name: 'db-0' }, ip: 'none' };

function start() {
  const clock = { now: 1, monotonic: 0 };
  const leases = testLeases(memoryLeaseStore(), [POOL], { clock });
  const links = fakePodLinks();
  const logger = pino({ level: 'silent' });
  const owners = new Owners({ appLabel: 'app', defaultIp: 'none', byNamespace: new Map() });
  const attachments = testAttachments({ leases, links, owners });
  const sandboxes = new Map<string, RuntimeSandbox>();
  const namespaces = { present: new Set<string>(), inhabited: new Set<string>() };
  const collected: string[] = [];
  const outage: { error?: Error; duringLook?: () => Promise<void> } = {};
  const collector = new Collector({
    held: () => [],
    leases,
    links,
    attachments,
    runtime: {
      listSandboxes: async () => {
        if (outage.error !== undefined) throw outage.error;
        return [...sandboxes.values()];
      },
      sandboxStatus: async (id) => sandboxes.get(id),
    },
    lookAtNamespaces: async () => {
      await outage.duringLook?.();
      return { present: new Set(namespaces.present), inhabited: new Set(namespaces.inhabited) };
    },
    logger,
    onCollected: (what) => void collected.push(what),
    graceMs: GRACE,
    monotonic: () => clock.monotonic,
  });
  const grant = async (containerId: string, owner: Owner = POD): Promise<void> => {
    const request = {
      id: sandboxOf(containerId),
      pool: POOL,
      owner,
      mode: 'bridge',
      netns: `/n/${containerId}`,
    } as const;
    await acquire(leases, { ...request, silenced: [] }, SIGNAL);
  };
  const held = async (): Promise<number> => (await leases.store.list('address', { limit: 99 }, SIGNAL)).length;
  return { clock, leases, links, attachments, sandboxes, namespaces, collected, outage, collector, grant, held };
}

t.test('seen abandoned twice with time between: collected', async (t) => {
  const { clock, leases, collected, collector, grant, held } = start();
  await grant('1');
  await collector.collect(SIGNAL);
  clock.monotonic += GRACE - 1;
  await collector.collect(SIGNAL);
  t.equal(await held(), 1, 'not yet');
  clock.monotonic += 1;
  await collector.collect(SIGNAL);
  t.equal(await held(), 0);
  t.strictSame(collected, ['attachment']);
  t.strictSame(await inconsistencies(leases.store, [POOL]), []);
});

t.test('kept: what the runtime knows, what a process lives in, and what is nobody’s pod and there', async (t) => {
  const { clock, sandboxes, namespaces, collected, collector, grant, held } = start();
  for (const id of ['known', 'inhabited', 'empty']) await grant(id);
  await grant('no-pod', { ip: 'none' });
  sandboxes.set('known', fakeSandbox('known', 'u'));
  for (const id of ['inhabited', 'empty', 'no-pod']) namespaces.present.add(`/n/${id}`);
  namespaces.inhabited.add('/n/inhabited');
  for (let look = 0; look < 3; look += 1) {
    await collector.collect(SIGNAL);
    clock.monotonic += GRACE;
  }
  t.equal(await held(), 3);
  t.strictSame(collected, ['attachment'], 'the pod’s whose namespace is empty');
});

t.test('seen in use once in between: the time begins anew', async (t) => {
  const { clock, sandboxes, collector, grant, held } = start();
  await grant('1');
  await collector.collect(SIGNAL);
  sandboxes.set('1', fakeSandbox('1', 'u'));
  clock.monotonic += GRACE;
  await collector.collect(SIGNAL);
  sandboxes.delete('1');
  await collector.collect(SIGNAL);
  t.equal(await held(), 1);
});

t.test('joined anew while it was looked at: another attachment, which stays', async (t) => {
  const { clock, leases, outage, collector, grant, held } = start();
  await grant('1');
  await collector.collect(SIGNAL);
  clock.monotonic += GRACE;
  clock.now += 1;
  outage.duringLook = async () => {
    delete outage.duringLook;
    await release(leases, sandboxOf('1'), SIGNAL);
    await grant('1');
  };
  await collector.collect(SIGNAL);
  t.equal(await held(), 1);
});

t.test('interfaces that are nobody’s go; those of others stay, whatever their names begin with', async (t) => {
  const { clock, links, collected, collector, grant } = start();
  await grant('1');
  const [own, stray] = [hostNameOf(sandboxOf('1')), hostNameOf(sandboxOf('gone'))];
  const another = hostNameOf(sandboxOf('of another agent'));
  for (const name of [own, stray, 'hf0', 'hfabric-uplink0']) links.leave(name);
  links.leave(another, 'another');
  await collector.collect(SIGNAL);
  t.equal(links.ends.size, 5, 'not at the first look');
  clock.monotonic += GRACE - 1;
  await collector.collect(SIGNAL);
  clock.monotonic += 1;
  links.once('remove', async () => {
    throw new Error('busy');
  });
  await collector.collect(SIGNAL);
  await collector.collect(SIGNAL);
  t.notOk(links.ends.has(stray));
  t.ok(['hf0', 'hfabric-uplink0', another].every((name) => links.ends.has(name)));
  t.ok(collected.includes('interface'));
});

t.test('an address that an interface without a record has is nobody else’s as long as it has it', async (t) => {
  const { clock, leases, links, collector, grant } = start();
  const stray = hostNameOf(sandboxOf('of before the loss'));
  links.appear(stray, ['192.0.2.1']);
  await collector.lookAtStrays(SIGNAL);
  await collector.lookAtStrays(SIGNAL);
  await grant('1');
  const addresses = async () => (await leases.store.list('address', { limit: 9 }, SIGNAL)).map(({ key }) => key);
  t.strictSame(await addresses(), ['address/default/192.0.2.1', 'address/default/192.0.2.2']);
  t.ok(links.ends.has(stray), 'and it goes on');
  clock.now += 45 * 60_000;
  await collector.collect(SIGNAL);
  clock.now += 45 * 60_000;
  await collector.collect(SIGNAL);
  t.equal((await addresses()).length, 2, 'prolonged');
  links.vanish(stray);
  clock.now += 61 * 60_000;
  await collector.collect(SIGNAL);
  t.strictSame(await addresses(), ['address/default/192.0.2.2'], 'then it is free');
});

t.test('addresses whose time is over go back also while the runtime is away', async (t) => {
  const { clock, leases, outage, collector, grant, held } = start();
  await grant('1', { ...POD, ip: 'keep' });
  await release(leases, sandboxOf('1'), SIGNAL);
  clock.now += 2000;
  outage.error = new Error('no runtime');
  await t.rejects(collector.collect(SIGNAL), { code: 'UNAVAILABLE', message: /no runtime/ });
  t.equal(await held(), 0);
});

t.test('a record that cannot be read keeps no other from its end', async (t) => {
  const { clock, leases, collector, grant, held } = start();
  for (const n of [0, 1, 2]) {
    await grant(`${n}`, { pod: { namespace: 'default', name: `p${n}` }, ip: 'keep' });
    await release(leases, sandboxOf(`${n}`), SIGNAL);
    clock.now += 1;
  }
  const [first] = await leases.store.list('address', { limit: 1 }, SIGNAL);
  if (first === undefined) throw new Error('three are kept');
  const damaged = { expect: new Map(), write: new Map([[first.key, '{']]) };
  await leases.store.commit(damaged, SIGNAL);
  clock.now += 2000;
  await t.rejects(collector.collect(SIGNAL), { message: /cannot be read/ });
  t.equal(await held(), 1);
});

t.test('what only the host itself knows is collected as well, when its sandbox is gone', async (t) => {
  const store = memoryLeaseStore();
  const [a, b] = [sharingHost('a', store, POOL), sharingHost('b', store, POOL)];
  await a.regain();
  await b.regain();
  await a.add('1');
  await a.lose();
  await a.expire();
  t.equal(await releaseHost(b.leases, 'a', SIGNAL), 1);
  await a.regain();
  const clock = { now: 0 };
  const sandboxes = new Map([['1', fakeSandbox('1', 'u')]]);
  const collector = new Collector({
    held: () => a.custody().held(),
    leases: a.leases,
    links: a.links,
    attachments: a.attachments(),
    runtime: { listSandboxes: async () => [...sandboxes.values()], sandboxStatus: async (id) => sandboxes.get(id) },
    lookAtNamespaces: async () => ({ present: new Set(), inhabited: new Set() }),
    logger: pino({ level: 'silent' }),
    onCollected: () => undefined,
    graceMs: GRACE,
    monotonic: () => clock.now,
  });
  const lookTwice = async (): Promise<void> => {
    await collector.collect(SIGNAL);
    clock.now += GRACE;
    await collector.collect(SIGNAL);
    await a.attachments().settled();
  };
  await lookTwice();
  t.equal(a.custody().held().length, 1, 'its sandbox is there');
  t.strictSame([...a.links.ends.values()], [[]], 'silent');
  sandboxes.clear();
  await lookTwice();
  t.strictSame(a.custody().held(), []);
  t.equal(a.links.ends.size, 0);
});
