import t from 'tap';
import { POD_ROUTE_TABLE } from '../../../../agent/host/network/host-routes.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { interfacesOf, ipv4Of, ipv6Of, NEVER, planOf, ROUTED, startHost } from './support.ts';

t.test('routed mode', { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const { links, host } = await startHost(t);
  // The host has addresses of its own, but no default route.
  await host.ip('address add 192.0.2.1/32 dev lo');
  await host.ip('address add fd99::1/128 dev lo nodad');
  const routed = (number: number) => planOf(number, { dataPlane: ROUTED });
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];

  await t.test('host and pods reach each other over IPv4 and IPv6', async (t) => {
    await links.attach(one.path, routed(11), NEVER);
    await links.attach(two.path, routed(12), NEVER);
    t.match(await one.ip('-4 -o address show eth0'), `${ipv4Of(11)}/32 `);
    for (const address of [ipv4Of(11), ipv6Of(11)]) t.ok(await host.reaches(address), `host to ${address}`);
    for (const address of [ipv4Of(12), ipv6Of(12)]) t.ok(await one.reaches(address), `pod to ${address}`);
    for (const address of ['192.0.2.1', 'fd99::1']) t.ok(await two.reaches(address), `pod to the host's ${address}`);
    t.strictSame(await links.check(one.path, routed(11), NEVER), []);
    t.strictSame(await links.check(two.path, routed(12), NEVER), []);
  });

  await t.test("the host's routes to pods are in a table of their own", async (t) => {
    t.notMatch(await host.ip('-4 route show table main'), '10.77.');
    t.match(await host.ip(`-4 route show table ${POD_ROUTE_TABLE}`), /^10\.77\.0\.11 dev hfp11 proto 72 scope link/m);
    t.match(await host.ip(`-6 route show table ${POD_ROUTE_TABLE}`), /^fd77::b dev hfp11 proto 72/m);
    t.equal((await host.ip('-4 rule show')).match(/lookup 2772/g)?.length, 1, 'one rule, however many pods');
    t.equal((await host.ip('-6 rule show')).match(/lookup 2772/g)?.length, 1);
  });

  await t.test('an address that another interface has is refused, and nothing is left', async (t) => {
    const three = await makeNamespace(t, 'three');
    await t.rejects(links.attach(three.path, { ...routed(11), hostName: 'hfp13' }, NEVER), {
      code: 'HOST_FAILURE',
      message: /route to 10\.77\.0\.11.*EEXIST/,
    });
    t.strictSame(await links.list('hfp13', NEVER), []);
    t.strictSame(await interfacesOf(three), ['lo']);
    t.ok(await host.reaches(ipv4Of(11)), 'the rightful one still answers');
  });

  await t.test('quiesced, the addresses are silent and the routes are gone', async (t) => {
    await links.quiesce('hfp11', NEVER);
    t.equal(await host.ip(`-4 route show table ${POD_ROUTE_TABLE} dev hfp11`), '');
    t.equal(await host.ip(`-6 route show table ${POD_ROUTE_TABLE} dev hfp11`), '');
    t.notOk(await two.canReach(ipv4Of(11)));
    t.notOk(await two.canReach(ipv6Of(11)));
    t.match(await links.check(one.path, routed(11), NEVER), [
      "hfp11, the host's end, is down",
      'the host has no route to 10.77.0.11/32',
      'the host has no route to fd77::b/128',
    ]);
    await links.attach((await makeNamespace(t, 'next')).path, { ...routed(11), hostName: 'hfp14' }, NEVER);
    t.ok(await two.reaches(ipv4Of(11)), 'the next owner can have the address before the old link is removed');
  });

  await t.test('a route to elsewhere goes by way of the host', async (t) => {
    const four = await makeNamespace(t, 'four');
    const routes = [
      { destination: '198.51.100.0/24', via: undefined },
      { destination: '203.0.113.0/24', via: '10.99.0.1' },
    ];
    const plan = { ...routed(15), routes };
    await links.attach(four.path, plan, NEVER);
    t.match(await four.ip('route show 198.51.100.0/24'), 'via 169.254.1.1 dev eth0');
    t.match(await four.ip('route show 203.0.113.0/24'), 'via 10.99.0.1 dev eth0');
    t.strictSame(await links.check(four.path, plan, NEVER), []);
  });
});
