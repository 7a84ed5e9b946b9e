// Addresses that somebody on the link has already are not attached: two hosts, whose bridges are one link.
import t, { type Test } from 'tap';
import { pollUntil } from '../../../../agent/cli/quickstart/poll.ts';
import { arpProbe } from '../../../../agent/host/network/frames/arp.ts';
import { duplicateSolicitation } from '../../../../agent/host/network/frames/neighbour-discovery.ts';
import { ipBytes } from '../../../../agent/host/network/ip-bytes.ts';
import { AddressInUseError, type LinkPlan } from '../../../../agent/host/network/pod-links.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import {
  addressesOf,
  BRIDGE,
  interfacesOf,
  ipv4Of,
  ipv6Of,
  joinedPlanOf,
  NEVER,
  openFrames,
  planOf,
  startHost,
  startJoinedHosts,
  type TestHost,
} from './support.ts';

const skip = NO_NETWORK_NAMESPACES;
const OTHER_MAC = '0a:58:0a:4d:ff:01';

async function isClean(t: Test, { host, links }: TestHost, sandbox: TestNamespace): Promise<void> {
  t.strictSame(await links.list('hfp', NEVER), [], 'no pair is left on the host');
  t.notOk((await interfacesOf(host)).some((name) => name.startsWith('hfp')));
  t.strictSame(await interfacesOf(sandbox), ['lo']);
}

/** The plan for only one of the families. */
function ofFamily(family: 4 | 6, plan: LinkPlan): LinkPlan {
  return { ...plan, addresses: plan.addresses.filter((address) => address.family === family) };
}

/** Does something again and again while a sandbox is attached. @returns the link or the error */
async function attachWhile(
  { links }: TestHost,
  sandbox: TestNamespace,
  plan: LinkPlan,
  work: () => unknown,
): Promise<unknown> {
  let outcome: unknown;
  const end = (value: unknown): void => {
    outcome = value;
  };
  void links.attach(sandbox.path, plan, NEVER).then(end, end);
  return await pollUntil('the end of the attachment', 20_000, async () => {
    if (outcome === undefined) work();
    return outcome;
  });
}

t.test('two hosts on one link', { skip }, async (t) => {
  const [left, right] = await startJoinedHosts(t);
  const [holder, next] = [await makeNamespace(t, 'holder'), await makeNamespace(t, 'next')];
  const probed = (number: number, changes: Partial<LinkPlan> = {}): LinkPlan =>
    joinedPlanOf(number, { probe: true, ...changes });

  await t.test('a free address is attached, and works as without a probe', async (t) => {
    const link = await left.links.attach(holder.path, probed(11), NEVER);
    t.equal(link.mac, joinedPlanOf(11).mac);
    t.strictSame(await left.links.check(holder.path, joinedPlanOf(11), NEVER), []);
    const shown = await holder.ip('-6 address show dev eth0');
    t.match(shown, 'fe80::858:aff:fe4d:b/64', 'its link-local address is of its final hardware address');
    t.equal(shown.match(/inet6 fe80/g)?.length, 1);
  });

  for (const family of [4, 6] as const) {
    const address = family === 4 ? ipv4Of(11) : ipv6Of(11);

    await t.test(`an IPv${family} address of a pod on the other host is refused, and nothing is left`, async (t) => {
      await t.rejects(
        right.links.attach(next.path, ofFamily(family, probed(11, { mac: OTHER_MAC })), NEVER),
        new AddressInUseError(address, joinedPlanOf(11).mac, 'on the link of the bridge hfbr0'),
      );
      await isClean(t, right, next);
      t.strictSame(await left.links.check(holder.path, joinedPlanOf(11), NEVER), [], 'the rightful one goes on');
    });

    await t.test(`so it is when both would have the same hardware address (IPv${family})`, async (t) => {
      const failure = right.links.attach(next.path, ofFamily(family, probed(11)), NEVER);
      await t.rejects(failure, { code: 'PRECONDITION', address, mac: joinedPlanOf(11).mac });
      await isClean(t, right, next);
    });

    await t.test(`and when another one is probing for it at the same time (IPv${family})`, async (t) => {
      const one = await makeNamespace(t, 'one');
      await left.links.attach(one.path, joinedPlanOf(20 + family), NEVER);
      const frames = await openFrames(t, one, 'eth0');
      const bytes = ipBytes(family === 4 ? ipv4Of(30) : ipv6Of(30)) ?? Buffer.alloc(0);
      const otherMac = Buffer.from(OTHER_MAC.replaceAll(':', ''), 'hex');
      const probe = family === 4 ? arpProbe(bytes, otherMac) : duplicateSolicitation(bytes, otherMac);
      const outcome = await attachWhile(right, next, ofFamily(family, probed(30)), () => frames.send(probe));
      t.match(outcome, { code: 'PRECONDITION', mac: OTHER_MAC });
      t.type(outcome, AddressInUseError);
      await isClean(t, right, next);
    });
  }

  await t.test('of two addresses one is enough', async (t) => {
    const [, ipv6] = joinedPlanOf(11).addresses;
    const [ipv4] = joinedPlanOf(12).addresses;
    if (ipv4 === undefined || ipv6 === undefined) throw new Error('they are there');
    const both = probed(12, { addresses: [ipv4, ipv6] });
    await t.rejects(right.links.attach(next.path, both, NEVER), { code: 'PRECONDITION', address: ipv6Of(11) });
    await isClean(t, right, next);
  });

  await t.test('a quiesced holder says nothing any more, and the address is free', async (t) => {
    await left.links.quiesce('hfp11', NEVER);
    await right.links.attach(next.path, probed(11), NEVER);
    t.strictSame(await right.links.check(next.path, joinedPlanOf(11), NEVER), []);
  });
});

t.test('a bridge that watches multicast listeners does not keep another’s probe back', { skip }, async (t) => {
  const [left, right] = await startJoinedHosts(t);
  const [one, witness, next] = [
    await makeNamespace(t, 'one'),
    await makeNamespace(t, 'witness'),
    await makeNamespace(t, 'next'),
  ];
  await left.links.attach(one.path, joinedPlanOf(11), NEVER);
  await right.links.attach(witness.path, joinedPlanOf(12), NEVER);
  // Without an address of its own it asks for no listeners.
  await pollUntil('an address of the bridge', 20_000, async () =>
    /fe80.*(?<!tentative )$/m.test(await right.host.ip('-6 address show dev hfbr0')) ? true : undefined,
  );
  // In this order: a bridge waits for answers as long as was set when it began to ask. In hundredths of a second.
  for (const words of [
    'query_response_interval 10',
    'startup_query_interval 50',
    'startup_query_count 40',
    'querier 1',
  ]) {
    await right.host.ip(`link set hfbr0 type bridge mcast_${words}`);
  }
  const [frames, heard] = [await openFrames(t, one, 'eth0'), await openFrames(t, witness, 'eth0')];
  const bytes = ipBytes(ipv6Of(30)) ?? Buffer.alloc(0);
  const otherMac = Buffer.from(OTHER_MAC.replaceAll(':', ''), 'hex');
  const probe = duplicateSolicitation(bytes, otherMac);
  const sentinel = arpProbe(Buffer.from([192, 0, 2, 1]), otherMac);
  await pollUntil('the bridge to keep back what nobody listens to', 20_000, async () => {
    for (const frame of [probe, sentinel]) frames.send(frame);
    let isKeptBack = true;
    for (;;) {
      const frame = await pollUntil('a frame', 20_000, async () => heard.receive());
      if (frame.equals(probe)) isKeptBack = false;
      if (frame.equals(sentinel)) return isKeptBack || undefined;
    }
  });
  const outcome = await attachWhile(right, next, ofFamily(6, joinedPlanOf(30, { probe: true })), () =>
    frames.send(probe),
  );
  t.match(outcome, { code: 'PRECONDITION', mac: OTHER_MAC });
  t.strictSame(await interfacesOf(next), ['lo']);
});

t.test('our own probe is no conflict when the bridge gives it back', { skip }, async (t) => {
  const { links } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  const plan = planOf(11, { probe: true, dataPlane: { ...BRIDGE, hairpin: true } });
  await links.attach(one.path, plan, NEVER);
  t.strictSame(await links.check(one.path, plan, NEVER), []);
});

t.test('a sandbox without an IPv6 address of ours keeps its IPv6 as it was', { skip }, async (t) => {
  const { links } = await startHost(t);
  const [on, off] = [await makeNamespace(t, 'on'), await makeNamespace(t, 'off')];
  await off.run('busybox', 'sysctl', '-w', 'net.ipv6.conf.default.disable_ipv6=1');
  for (const [sandbox, number, expected] of [
    [on, 11, '0'],
    [off, 12, '1'],
  ] as const) {
    await links.attach(sandbox.path, ofFamily(4, planOf(number, { probe: true })), NEVER);
    t.equal((await sandbox.run('cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6')).trim(), expected);
  }
});

t.test('several that are probed at the same time do not disturb each other', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const numbers = Array.from({ length: 12 }, (_, index) => 11 + index);
  const sandboxes = await Promise.all(numbers.map((number) => makeNamespace(t, `s${number}`)));
  await Promise.all(
    sandboxes.map((sandbox, index) => links.attach(sandbox.path, planOf(numbers[index] ?? 0, { probe: true }), NEVER)),
  );
  for (const number of numbers) t.ok(await host.reaches(ipv4Of(number)));
});

t.test('a caller that gives up in the middle of a probe leaves nothing', { skip }, async (t) => {
  const testHost = await startHost(t);
  const one = await makeNamespace(t, 'one');
  const witness = await makeNamespace(t, 'witness');
  await testHost.links.attach(witness.path, planOf(12, { hostName: 'hfwitness' }), NEVER);
  const frames = await openFrames(t, witness, 'eth0');
  const [address] = addressesOf(11);
  const controller = new AbortController();
  const reason = new Error('enough');
  const attached = testHost.links.attach(one.path, planOf(11, { probe: true }), controller.signal);
  const refused = t.rejects(attached, reason);
  const probe = Buffer.concat([Buffer.alloc(4), Buffer.alloc(6), ipBytes(address.address) ?? Buffer.alloc(0)]);
  await pollUntil('the first probe', 20_000, async () => {
    for (;;) {
      const frame = frames.receive();
      if (frame === undefined) return undefined;
      if (frame.readUInt16BE(12) === 0x0806 && frame.subarray(28, 42).equals(probe)) return frame;
    }
  });
  controller.abort(reason);
  await refused;
  await isClean(t, testHost, one);
});
