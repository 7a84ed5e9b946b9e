// Sandboxes come and go as a runtime says, on interfaces that fail at every step: no address is lost, and none is on two
// interfaces that speak.
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import type { Address } from '../../../agent/model/address.ts';
import type { Attachments } from '../../../agent/network/attachments.ts';
import type { AddRequest, Attached, DataPlane } from '../../../agent/network/cni/request.ts';
import { hostNameOf, macOf } from '../../../agent/network/plan-link.ts';
import type { Pool } from '../../../agent/network/pool.ts';
import { inconsistencies } from '../../support/address-consistency.ts';
import { type FakePodLinks, fakePodLinks } from '../../support/fake-pod-links.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';
import { holdsAsync } from '../../support/properties.ts';
import { testAttachments } from '../../support/test-attachments.ts';
import { poolOf, sandboxOf, type TestLeases, testLeases } from '../../support/test-leases.ts';

const SIGNAL = new AbortController().signal;
/** Two pods' addresses. */
const POOL = poolOf('default', '192.0.2.0/30');
const BRIDGE: DataPlane = { mode: 'bridge', bridge: 'br', hairpin: false };
const IPAM: DataPlane = { mode: 'ipam' };
const KEEP = { 'holdfast.dev/ip': 'keep' };

interface Host {
  readonly attachments: Attachments;
  readonly links: FakePodLinks;
  readonly leases: TestLeases;
  readonly speaking: () => readonly string[];
  readonly inconsistencies: () => Promise<readonly string[]>;
}

/** @param before - what an agent that was killed left behind */
function start(
  pool: Pool = POOL,
  before?: Pick<Host, 'links' | 'leases'>,
  reach: (point: string) => Promise<void> = async () => undefined,
): Host {
  const links = before?.links ?? fakePodLinks();
  const leases = before?.leases ?? testLeases(memoryLeaseStore(), [pool]);
  const attachments = testAttachments({ leases, links, reach });
  return {
    attachments,
    links,
    leases,
    speaking: () => [...links.ends.values()].flat(),
    inconsistencies: () => inconsistencies(leases.store, [...leases.pools.values()]),
  };
}

const configOf = (dataPlane: DataPlane = BRIDGE) => ({ name: 'pods', dataPlane });

function addOf(containerId: string, annotations: Readonly<Record<string, string>> = {}, name = 'db-0'): AddRequest {
  const pod = { namespace: 'default', name, annotations };
  return { command: 'ADD', id: sandboxOf(containerId), netns: `/run/netns/${containerId}`, config: configOf(), pod };
}

const addressesOf = ({ addresses }: Attached): readonly string[] => addresses.map(({ address }) => address);
const del = ({ attachments }: Host, containerId: string, signal = SIGNAL): Promise<void> =>
  attachments.del({ command: 'DEL', id: sandboxOf(containerId), config: configOf() }, signal);
const fail = async (): Promise<void> => {
  throw new Error('the kernel refused');
};

t.test('a sandbox is joined, told what it has, and taken off', async (t) => {
  const host = start();
  const attached = await host.attachments.add(addOf('1'), SIGNAL);
  t.match(attached, {
    interfaces: [{ name: hostNameOf(sandboxOf('1')) }, { name: 'eth0', sandbox: '/run/netns/1' }],
    addresses: [{ address: '192.0.2.1/30' }],
  });
  t.strictSame(host.speaking(), ['192.0.2.1']);
  await del(host, '1');
  t.strictSame(host.speaking(), []);
  await host.attachments.settled();
  t.equal(host.links.ends.size, 0, 'the interface goes after the answer');
  t.strictSame(await host.inconsistencies(), []);
});

t.test('DEL succeeds for what never was, and for what was taken off already', async (t) => {
  const host = start();
  await del(host, 'never');
  await host.attachments.add(addOf('1'), SIGNAL);
  await del(host, '1');
  await del(host, '1');
  await host.attachments.settled();
  t.equal(host.leases.told.filter(({ event }) => event === 'freed').length, 1);
});

t.test('DEL succeeds for names that are too long for anything to be on record', async (t) => {
  const host = start();
  const id = { network: 'n'.repeat(253), containerId: 'c'.repeat(253), ifname: '~~~~~~~~~~~~~~~' };
  const config = { ...configOf(), name: id.network };
  await t.rejects(host.attachments.add({ ...addOf('1'), id, config }, SIGNAL), { code: 'INVALID_REQUEST' });
  await host.attachments.del({ command: 'DEL', id, config }, SIGNAL);
});

t.test('what could not be joined gives its addresses back', async (t) => {
  const host = start();
  for (const id of ['1', '2', '3']) {
    host.links.once('attach', fail);
    await t.rejects(host.attachments.add(addOf(id), SIGNAL), /the kernel refused/);
  }
  t.strictSame(addressesOf(await host.attachments.add(addOf('4'), SIGNAL)), ['192.0.2.1/30']);
  t.strictSame(await host.inconsistencies(), []);
});

t.test('what could not be joined keeps its addresses as long as it may be speaking', async (t) => {
  const host = start();
  host.links.once('attach', fail);
  host.links.once('quiesce', fail);
  await t.rejects(host.attachments.add(addOf('1'), SIGNAL), /the kernel refused/);
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.2/30']);
  await del(host, '1');
  t.strictSame(addressesOf(await host.attachments.add(addOf('3'), SIGNAL)), ['192.0.2.1/30']);
});

t.test('an interface that cannot be silenced keeps its addresses', async (t) => {
  const host = start();
  await host.attachments.add(addOf('1'), SIGNAL);
  host.links.once('quiesce', fail);
  await t.rejects(del(host, '1'), /the kernel refused/);
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.2/30']);
  t.strictSame(host.links.clashes, []);
  await del(host, '1');
  t.strictSame(await host.inconsistencies(), []);
});

t.test('an interface that cannot be removed has no address any more', async (t) => {
  const host = start();
  await host.attachments.add(addOf('1'), SIGNAL);
  host.links.once('remove', fail);
  await del(host, '1');
  await host.attachments.settled();
  t.equal(host.links.ends.size, 1);
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.1/30']);
  t.strictSame(host.links.clashes, []);
});

t.test('a caller that goes away while its sandbox is joined leaves nothing', async (t) => {
  const host = start();
  const caller = new AbortController();
  host.links.once('attach', async () => caller.abort(new Error('gone')));
  await t.rejects(host.attachments.add(addOf('1'), caller.signal), /gone/);
  t.strictSame(host.speaking(), []);
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.1/30']);
});

t.test('a caller that goes when the interface is there leaves nothing behind', async (t) => {
  const caller = new AbortController();
  const host = start(POOL, undefined, async (point) => {
    if (point === 'network.add.joined') caller.abort(new Error('gone'));
  });
  await t.rejects(host.attachments.add(addOf('1'), caller.signal), /gone/);
  await host.attachments.settled();
  t.equal(host.links.ends.size, 0);
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.1/30']);
});

t.test('an IPAM plugin is told addresses once', async (t) => {
  const host = start();
  const add = { ...addOf('1'), config: configOf(IPAM) };
  t.strictSame(addressesOf(await host.attachments.add(add, SIGNAL)), ['192.0.2.1/30']);
  await t.rejects(host.attachments.add(add, SIGNAL), { code: 'PRECONDITION' });
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.2/30'], 'and keeps them');
});

t.test('a caller that goes away in the middle of DEL is finished for', async (t) => {
  const host = start();
  await host.attachments.add(addOf('1'), SIGNAL);
  const caller = new AbortController();
  host.links.once('quiesce', async () => caller.abort());
  await del(host, '1', caller.signal);
  t.strictSame(host.speaking(), []);
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.1/30']);
});

t.test('the agent was killed before it joined the sandbox: ADD again gives the same', async (t) => {
  const before = start();
  before.links.once('attach', () => new Promise(() => {}));
  void before.attachments.add(addOf('1'), SIGNAL);
  while (before.links.calls.length === 0) await setImmediate();
  const after = start(POOL, before);
  t.strictSame(addressesOf(await after.attachments.add(addOf('1'), SIGNAL)), ['192.0.2.1/30']);
  t.strictSame(await after.inconsistencies(), []);
});

t.test('ADD for a sandbox that is joined fails and takes nothing from it', async (t) => {
  const host = start();
  await host.attachments.add(addOf('1'), SIGNAL);
  await t.rejects(host.attachments.add(addOf('1'), SIGNAL), { code: 'PRECONDITION' });
  t.strictSame(host.speaking(), ['192.0.2.1'], 'it still speaks');
  t.strictSame(addressesOf(await host.attachments.add(addOf('2'), SIGNAL)), ['192.0.2.2/30'], 'nobody else gets it');
  t.strictSame(host.links.clashes, []);
  t.strictSame(await host.inconsistencies(), []);
});

t.test('a pod’s earlier sandbox is silent before the later one speaks', async (t) => {
  const host = start();
  await host.attachments.add(addOf('old', KEEP), SIGNAL);
  t.strictSame(addressesOf(await host.attachments.add(addOf('new', KEEP), SIGNAL)), ['192.0.2.1/30']);
  t.strictSame(host.links.clashes, []);
  const [old, later] = [hostNameOf(sandboxOf('old')), hostNameOf(sandboxOf('new'))];
  t.strictSame(host.links.calls, [`attach ${old}`, `quiesce ${old}`, `attach ${later}`]);
  await del(host, 'old');
  t.strictSame(host.speaking(), ['192.0.2.1'], 'a late DEL takes nothing from the later one');
  t.strictSame(await host.inconsistencies(), []);
});

t.test('an earlier sandbox that cannot be silenced keeps its address', async (t) => {
  const host = start();
  await host.attachments.add(addOf('old', KEEP), SIGNAL);
  host.links.once('quiesce', fail);
  await t.rejects(host.attachments.add(addOf('new', KEEP), SIGNAL), /the kernel refused/);
  t.strictSame(host.links.clashes, []);
  t.strictSame(await host.inconsistencies(), []);
});

t.test('an earlier sandbox that is just being joined is silenced when it has its interface, not before', async (t) => {
  const host = start();
  let go = (): void => {};
  host.links.once(
    'attach',
    () =>
      new Promise((resolve) => {
        go = resolve;
      }),
  );
  const old = host.attachments.add(addOf('old', KEEP), SIGNAL);
  while (host.links.calls.length === 0) await setImmediate();
  const later = host.attachments.add(addOf('new', KEEP), SIGNAL);
  for (let turn = 0; turn < 30; turn += 1) await setImmediate();
  go();
  await Promise.allSettled([old, later]);
  t.strictSame(host.links.clashes, []);
  t.strictSame(host.speaking(), ['192.0.2.1']);
  t.strictSame(await host.inconsistencies(), []);
});

t.test('ADD again for a sandbox whose address went to a later one is refused', async (t) => {
  const host = start();
  await host.attachments.add(addOf('old', KEEP), SIGNAL);
  await host.attachments.add(addOf('new', KEEP), SIGNAL);
  await host.links.remove(hostNameOf(sandboxOf('old')), SIGNAL);
  await t.rejects(host.attachments.add(addOf('old', KEEP), SIGNAL), { code: 'PRECONDITION' });
  t.strictSame(host.links.clashes, []);
  const check = { command: 'CHECK', id: sandboxOf('old'), netns: '/n', config: configOf(), expected: [] } as const;
  await t.rejects(host.attachments.check(check, SIGNAL), { code: 'PRECONDITION' }, 'and CHECK tells');
});

t.test('the address of an earlier sandbox whose interface is another plugin’s waits for its DEL', async (t) => {
  const host = start();
  await host.attachments.add({ ...addOf('old', KEEP), config: configOf(IPAM) }, SIGNAL);
  await t.rejects(host.attachments.add(addOf('new', KEEP), SIGNAL), { code: 'UNAVAILABLE' });
  await del(host, 'old');
  t.strictSame(addressesOf(await host.attachments.add(addOf('new', KEEP), SIGNAL)), ['192.0.2.1/30']);
});

t.test('as an IPAM plugin it makes no interfaces', async (t) => {
  const host = start();
  const attached = await host.attachments.add({ ...addOf('1'), config: configOf(IPAM) }, SIGNAL);
  t.strictSame(attached, { interfaces: [], addresses: [{ address: '192.0.2.1/30' }], routes: [] });
  t.strictSame(host.links.calls, []);
});

t.test('GC takes off what is not valid, goes on after a failure, and keeps the rest', async (t) => {
  const host = start(poolOf('default', '192.0.2.0/28'));
  for (const id of ['1', '2', '3', '4']) await host.attachments.add(addOf(id), SIGNAL);
  host.links.once('quiesce', fail);
  const gc = { command: 'GC', config: configOf(), valid: [{ containerId: '2', ifname: 'eth0' }] } as const;
  await t.rejects(host.attachments.gc(gc, SIGNAL), { code: 'HOST_FAILURE', message: /the kernel refused/ });
  t.same(host.speaking().length, 2);
  await host.attachments.gc(gc, SIGNAL);
  t.strictSame(host.speaking(), ['192.0.2.2']);
  const other = { ...gc, config: { ...configOf(), name: 'another' }, valid: [] };
  await host.attachments.gc(other, SIGNAL);
  t.strictSame(host.speaking(), ['192.0.2.2'], 'another network’s GC does not concern it');
  t.strictSame(await host.inconsistencies(), []);
});

t.test('CHECK tells what is missing', async (t) => {
  const host = start();
  const id = sandboxOf('1');
  const check = { command: 'CHECK', id, netns: '/n', config: configOf(), expected: ['192.0.2.1/30'] } as const;
  await t.rejects(host.attachments.check(check, SIGNAL), { code: 'PRECONDITION', message: /no address/ });
  await host.attachments.add(addOf('1'), SIGNAL);
  await host.attachments.check(check, SIGNAL);
  await t.rejects(host.attachments.check({ ...check, expected: ['192.0.2.9/30'] }, SIGNAL), {
    code: 'PRECONDITION',
    message: /192\.0\.2\.9/,
  });
  await host.links.quiesce(hostNameOf(id), SIGNAL);
  await t.rejects(host.attachments.check(check, SIGNAL), { code: 'PRECONDITION', message: /is missing/ });
});

t.test('STATUS says when there is no room', async (t) => {
  const host = start();
  const status = { command: 'STATUS', config: configOf() } as const;
  await host.attachments.status(status, SIGNAL);
  for (const id of ['1', '2']) await host.attachments.add(addOf(id), SIGNAL);
  await t.rejects(host.attachments.status(status, SIGNAL), { code: 'NO_ROOM' });
  await t.rejects(host.attachments.add(addOf('3'), SIGNAL), { code: 'NO_ROOM' });
  await del(host, '1');
  await host.attachments.status(status, SIGNAL);
});

t.test('a pool that the configuration does not have is named', async (t) => {
  const host = start();
  const config = { ...configOf(), pool: 'nowhere' };
  await t.rejects(host.attachments.add({ ...addOf('1'), config }, SIGNAL), {
    code: 'INVALID_CONFIG',
    message: /nowhere.*default/,
  });
});

t.test('whatever fails at once, no two interfaces speak with one address and all come back', async (t) => {
  const steps = fc.array(
    fc.record({
      verb: fc.constantFrom('add' as const, 'del' as const),
      sandbox: fc.nat(5),
      fails: fc.constantFrom(undefined, undefined, 'attach' as const, 'quiesce' as const, 'remove' as const),
    }),
    { maxLength: 30, size: 'max' },
  );
  await holdsAsync(
    t,
    'adds and dels of three pods with two sandboxes each',
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), async (all, width) => {
      const host = start(poolOf('default', '192.0.2.0/29'));
      for (let from = 0; from < all.length; from += width) {
        await Promise.allSettled(
          all.slice(from, from + width).map(async ({ verb, sandbox, fails }) => {
            if (fails !== undefined) host.links.once(fails, fail);
            if (verb === 'add') await host.attachments.add(addOf(`${sandbox}`, KEEP, `p${sandbox % 3}`), SIGNAL);
            else await del(host, `${sandbox}`);
          }),
        );
      }
      if (host.links.clashes.length > 0) throw new Error(`clashes: ${host.links.clashes.join(' ')}`);
      const problems = await host.inconsistencies();
      if (problems.length > 0) throw new Error(problems.join('\n'));
      for (let sandbox = 0; sandbox < 6; sandbox += 1) {
        // What was to fail and has not yet fails now.
        for (let more = true; more; ) {
          more = await del(host, `${sandbox}`).then(
            () => false,
            () => true,
          );
        }
      }
      if (host.speaking().length > 0) throw new Error(`${host.speaking().join(' ')} speak`);
      const left = await host.leases.store.list('attachment', { limit: 9 }, SIGNAL);
      if (left.length > 0) throw new Error(`${left.map(({ key }) => key).join(' ')} are left`);
    }),
    100,
  );
});

/** Of a bridge whose link has neighbours. */
function probed(containerId: string, annotations: Readonly<Record<string, string>> = {}, name = 'db-0'): AddRequest {
  return {
    ...addOf(containerId, annotations, name),
    config: configOf({ mode: 'bridge', bridge: 'br', uplink: 'eno1', hairpin: false }),
  };
}

t.test('an address that somebody else on the link has is put aside, and the pod gets another one', async (t) => {
  for (const annotations of [{}, KEEP]) {
    const host = start();
    host.links.use('192.0.2.1');
    const refused = { code: 'UNAVAILABLE', message: /192\.0\.2\.1 is in use .*put aside/ };
    await t.rejects(host.attachments.add(probed('1', annotations), SIGNAL), refused);
    await host.attachments.settled();
    t.equal(host.links.ends.size, 0);
    t.strictSame(await host.inconsistencies(), []);
    t.strictSame(addressesOf(await host.attachments.add(probed('2', annotations), SIGNAL)), ['192.0.2.2/30']);
    t.strictSame(await host.inconsistencies(), []);
  }
});

t.test('what a pod had on this host before is neither asked for nor announced', async (t) => {
  const host = start();
  await host.attachments.add(probed('1', KEEP), SIGNAL);
  await del(host, '1');
  t.strictSame(addressesOf(await host.attachments.add(probed('2', KEEP), SIGNAL)), ['192.0.2.1/30']);
  t.strictSame(host.links.announcements, [`${hostNameOf(sandboxOf('1'))} 192.0.2.1`], 'only the first time');
});

t.test('an address that only a pod’s interface can answer for is not put aside', async (t) => {
  const host = start();
  host.links.use('192.0.2.1', macOf('192.0.2.1' as Address));
  await t.rejects(host.attachments.add(probed('1', KEEP), SIGNAL), { message: /still answers for 192\.0\.2\.1/ });
  t.equal([...(await host.leases.store.list('address', { limit: 9 }, SIGNAL))][0]?.value.includes('"kept"'), true);
  t.strictSame(await host.inconsistencies(), []);
});

t.test('nobody is asked on a bridge of this host alone, unless the network says so', async (t) => {
  const host = start();
  host.links.use('192.0.2.1');
  await host.attachments.add(addOf('1'), SIGNAL);
  await del(host, '1');
  const asked = { ...addOf('2'), config: { ...configOf(), probe: true } };
  await t.rejects(host.attachments.add(asked, SIGNAL), { message: /in use/ });
  const silent = { ...probed('3'), config: { ...probed('3').config, probe: false } };
  t.strictSame(addressesOf(await host.attachments.add(silent, SIGNAL)), ['192.0.2.2/30']);
});
