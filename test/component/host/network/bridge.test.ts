import t from 'tap';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { BRIDGE, interfacesOf, ipv4Of, ipv6Of, NEVER, planOf, startHost } from './support.ts';

const skip = NO_NETWORK_NAMESPACES;

t.test('pods on a bridge', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];

  await t.test('reach each other and the gateway over IPv4 and IPv6', async (t) => {
    const link = await links.attach(one.path, planOf(11), NEVER);
    await links.attach(two.path, planOf(12), NEVER);
    t.match(link, {
      hostName: 'hfp11',
      mac: '0a:58:0a:4d:00:0b',
      mtu: 1500,
      hostMac: /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/,
    });
    for (const address of [ipv4Of(12), ipv6Of(12), '10.77.0.1', 'fd77::1']) t.ok(await one.reaches(address), address);
    t.ok(await host.reaches(ipv4Of(11)), 'and the host reaches them');
    t.ok(await two.reaches('127.0.0.1'), 'lo is up');
    t.match(await one.ip('route show default'), /^default via 10\.77\.0\.1 dev eth0/);
    t.match(await one.ip('-6 route show default'), /^default via fd77::1 dev eth0/);
    t.notMatch(await one.ip('-6 address show eth0'), /fd77::b.*tentative/, 'an address can be used at once');
    t.strictSame(await links.check(one.path, planOf(11), NEVER), []);
    t.strictSame(
      (await links.list('hfp', NEVER)).map(({ name }) => name),
      ['hfp11', 'hfp12'],
    );
    t.strictSame(await links.list('hfp2', NEVER), []);
  });

  await t.test('the bridge keeps its hardware address and gets no second gateway', async (t) => {
    const before = await host.ip('-o link show hfbr0');
    const three = await makeNamespace(t, 'three');
    await links.attach(three.path, planOf(13), NEVER);
    await links.remove('hfp13', NEVER);
    const macOf = (text: string): string | undefined => /link\/ether (\S+)/.exec(text)?.[1];
    t.equal(macOf(await host.ip('-o link show hfbr0')), macOf(before));
    t.equal((await host.ip('-4 -o address show hfbr0')).trim().split('\n').length, 1);
  });

  await t.test('quiesced, both addresses are silent at once, and the host forgets the neighbours', async (t) => {
    t.match(await host.ip('neigh show dev hfbr0'), ipv4Of(11));
    await links.quiesce('hfp11', NEVER);
    t.notOk(await two.canReach(ipv4Of(11)));
    t.notOk(await two.canReach(ipv6Of(11)));
    t.notMatch(await host.ip('neigh show dev hfbr0'), new RegExp(`^${ipv4Of(11).replaceAll('.', '\\.')} `, 'm'));
    t.match(await links.check(one.path, planOf(11), NEVER), [
      "hfp11, the host's end, is down",
      "hfp11, the host's end, is not a port of the bridge hfbr0",
    ]);
    await links.quiesce('hfp11', NEVER);
    t.pass('a second time does nothing');
  });

  await t.test('the next owner has the address while the old pair is still there', async (t) => {
    const next = await makeNamespace(t, 'next');
    await links.attach(next.path, { ...planOf(11), hostName: 'hfp11b' }, NEVER);
    t.ok(await two.reaches(ipv4Of(11)));
    t.ok(await two.reaches(ipv6Of(11)));
  });

  await t.test('removing takes both ends away, and may come twice', async (t) => {
    await links.remove('hfp11', NEVER);
    t.notOk((await interfacesOf(one)).includes('eth0'));
    await links.remove('hfp11', NEVER);
    await links.quiesce('hfp11', NEVER);
    t.strictSame(
      (await links.list('hfp1', NEVER)).map(({ name }) => name),
      ['hfp12'],
      'and others stay',
    );
  });
});

t.test('hairpin mode, an MTU, routes and a subnet without a way out are as asked', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  const plan = planOf(11, {
    dataPlane: { ...BRIDGE, hairpin: true, mtu: 1400 },
    routes: [
      { destination: '198.51.100.0/24', via: '10.77.0.9' },
      { destination: '2001:db8::/32', via: undefined },
    ],
  });
  t.match(await links.attach(one.path, plan, NEVER), { mtu: 1400 });
  t.match(await host.ip('-d link show hfp11'), /hairpin on/);
  t.match(await host.ip('link show hfbr0'), /mtu 1400/);
  t.match(await one.ip('route show 198.51.100.0/24'), 'via 10.77.0.9');
  t.match(await one.ip('-6 route show 2001:db8::/32'), 'via fd77::1');
  t.strictSame(await links.check(one.path, plan, NEVER), []);

  const two = await makeNamespace(t, 'two');
  const [ipv4] = planOf(12).addresses;
  if (ipv4 === undefined) throw new Error('it has one');
  await links.attach(two.path, { ...planOf(12), addresses: [{ ...ipv4, gateway: undefined }] }, NEVER);
  const accepts = (await two.run('cat', '/proc/sys/net/ipv6/conf/eth0/accept_ra')).trim();
  t.equal(accepts, '0', 'no neighbour can give it a router, also without an IPv6 address of ours');
  t.equal(await two.ip('route show default'), '');
  t.ok(await two.reaches(ipv4Of(11)));
});

t.test('a sandbox in which IPv6 is switched off gets its IPv6 address all the same', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  await one.run('busybox', 'sysctl', '-w', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
  await host.run('busybox', 'sysctl', '-w', 'net.ipv6.conf.default.disable_ipv6=1');
  await links.attach(one.path, planOf(11), NEVER);
  t.ok(await one.reaches('fd77::1'));
  t.equal((await one.run('cat', '/proc/sys/net/ipv6/conf/eth0/accept_ra')).trim(), '0');
});

t.test('an uplink joins the bridge, so that pods of two hosts are neighbours', { skip }, async (t) => {
  const [left, right] = [await startHost(t), await startHost(t)];
  await left.host.ip(`link add up0 type veth peer name up0 netns ${right.host.name}`);
  const plan = (number: number) =>
    planOf(number, {
      dataPlane: { ...BRIDGE, uplink: 'up0' },
      addresses: planOf(number).addresses.map((address) => ({ ...address, gateway: undefined })),
    });
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];
  await left.links.attach(one.path, plan(11), NEVER);
  await right.links.attach(two.path, plan(12), NEVER);
  t.ok(await one.reaches(ipv4Of(12)));
  t.ok(await one.reaches(ipv6Of(12)));

  await left.host.ip('link add other0 type bridge');
  await left.host.ip('link set up0 master other0');
  const three = await makeNamespace(t, 'three');
  await t.rejects(left.links.attach(three.path, plan(13), NEVER), {
    code: 'PRECONDITION',
    message: /up0 is a port of/,
  });
  t.match(await left.host.ip('link show up0'), /master other0/, "another bridge's port is never taken");
  const missing = { ...plan(13), dataPlane: { ...BRIDGE, uplink: 'none0' } };
  await t.rejects(left.links.attach(three.path, missing, NEVER), {
    code: 'PRECONDITION',
    message: /none0.*not on this/,
  });
});

t.test('a host that gets its default route by router advertisements keeps taking them', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  await host.ip('link add up0 type bridge');
  const accepts = async (): Promise<string> => (await host.run('cat', '/proc/sys/net/ipv6/conf/up0/accept_ra')).trim();
  t.equal(await accepts(), '1');
  await links.attach((await makeNamespace(t, 'one')).path, planOf(11), NEVER);
  t.equal(await accepts(), '2');
  t.equal((await host.run('cat', '/proc/sys/net/ipv6/conf/all/forwarding')).trim(), '1');
  t.equal((await host.run('cat', '/proc/sys/net/ipv4/ip_forward')).trim(), '1');
  t.equal((await host.run('cat', '/proc/sys/net/ipv6/conf/hfbr0/accept_ra')).trim(), '0', 'but not from pods');
});
