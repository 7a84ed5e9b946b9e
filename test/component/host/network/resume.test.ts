// What was quiesced comes back.
import t, { type Test } from 'tap';
import { POD_ROUTE_TABLE } from '../../../../agent/host/network/host-routes.ts';
import type { LinkPlan } from '../../../../agent/host/network/pod-links.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import {
  addressesOf,
  BRIDGE,
  ipv4Of,
  joinedPlanOf,
  NEVER,
  planOf,
  ROUTED,
  startHost,
  startJoinedHosts,
  type TestHost,
} from './support.ts';

const skip = NO_NETWORK_NAMESPACES;

/** All that can be seen of a pair, without what changes by itself. */
async function shown({ host }: TestHost, pod: TestNamespace, hostName: string): Promise<readonly string[]> {
  const words = [
    await host.ip(`-d link show dev ${hostName}`),
    await host.ip(`address show dev ${hostName}`),
    await host.ip(`-4 route show table ${POD_ROUTE_TABLE}`).catch(() => ''),
    await host.ip(`-6 route show table ${POD_ROUTE_TABLE}`).catch(() => ''),
    await host.run('cat', `/proc/sys/net/ipv4/conf/${hostName}/proxy_arp`),
    await pod.ip('-d link show dev eth0'),
    await pod.ip('address show dev eth0'),
    await pod.ip('route show'),
    await pod.ip('-6 route show'),
    await pod.ip('neigh show nud permanent'),
  ];
  return words.map((text) => text.replace(/\w+_timer +\S+| tentative/g, ''));
}

interface Scene {
  readonly testHost: TestHost;
  readonly pod: TestNamespace;
  readonly plan: LinkPlan;
  /** Who pings the pod. */
  readonly others: readonly TestNamespace[];
}

async function comesBack(t: Test, { testHost, pod, plan, others }: Scene): Promise<void> {
  const { links } = testHost;
  const addresses = plan.addresses.map(({ address }) => address);
  const [first = ''] = addresses;
  for (const other of others) for (const address of addresses) await other.reaches(address);
  const before = await shown(testHost, pod, plan.hostName);
  await links.quiesce(plan.hostName, NEVER);
  t.notOk(await others[0]?.canReach(first), 'it is silent in between');
  await links.resume(plan, NEVER);
  t.strictSame(await links.check(pod.path, plan, NEVER), []);
  for (const other of others) {
    for (const address of addresses) t.ok(await other.reaches(address), `${other.name} reaches ${address}`);
  }
  t.strictSame(await shown(testHost, pod, plan.hostName), before, 'all is as it was');
  await links.resume(plan, NEVER);
  t.strictSame(await shown(testHost, pod, plan.hostName), before, 'a second time nothing changes');
  t.ok(await others[0]?.reaches(first));
}

const FAMILIES = { 'IPv4 alone': [4], 'IPv4 and IPv6': [4, 6] } as const;

for (const [name, families] of Object.entries(FAMILIES)) {
  const only = (plan: LinkPlan): LinkPlan => ({
    ...plan,
    addresses: plan.addresses.filter(({ family }) => families.some((one) => one === family)),
  });

  t.test(`on a bridge, ${name}`, { skip }, async (t) => {
    const [left, right] = await startJoinedHosts(t);
    const [pod, near, far] = [
      await makeNamespace(t, 'pod'),
      await makeNamespace(t, 'near'),
      await makeNamespace(t, 'far'),
    ];
    const plan = only(joinedPlanOf(11, { dataPlane: { ...BRIDGE, uplink: 'up0', hairpin: true } }));
    await left.links.attach(pod.path, plan, NEVER);
    await left.links.attach(near.path, joinedPlanOf(12), NEVER);
    await right.links.attach(far.path, joinedPlanOf(13), NEVER);
    await comesBack(t, { testHost: left, pod, plan, others: [far, near] });
  });

  t.test(`in routed mode, ${name}`, { skip }, async (t) => {
    const testHost = await startHost(t);
    const { links, host } = testHost;
    // To ping with.
    await host.ip('address add 192.0.2.1/32 dev lo');
    await host.ip('address add fd99::1/128 dev lo nodad');
    const [pod, near] = [await makeNamespace(t, 'pod'), await makeNamespace(t, 'near')];
    const plan = only(planOf(11, { dataPlane: ROUTED }));
    await links.attach(pod.path, plan, NEVER);
    await links.attach(near.path, planOf(12, { dataPlane: ROUTED }), NEVER);
    await comesBack(t, { testHost, pod, plan, others: [near, host] });
  });
}

t.test('the bridge, its gateway and the rule are made again where somebody took them away', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];
  const routed = planOf(12, { dataPlane: ROUTED });
  await links.attach(one.path, planOf(11), NEVER);
  await links.attach(two.path, routed, NEVER);
  for (const name of ['hfp11', 'hfp12']) await links.quiesce(name, NEVER);
  await host.ip('link del hfbr0');
  for (const family of ['-4', '-6']) await host.ip(`${family} rule del priority 27720`);
  await links.resume(planOf(11), NEVER);
  await links.resume(routed, NEVER);
  t.strictSame(await links.check(one.path, planOf(11), NEVER), []);
  t.strictSame(await links.check(two.path, routed, NEVER), []);
  t.ok(await one.reaches('10.77.0.1'));
});

t.test('a link that is up and has lost something gets it back', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];
  const routed = planOf(12, { dataPlane: ROUTED });
  await links.attach(one.path, planOf(11), NEVER);
  await links.attach(two.path, routed, NEVER);
  await host.ip('link set hfp11 nomaster');
  await host.ip(`-4 route del ${ipv4Of(12)}/32 table ${POD_ROUTE_TABLE}`);
  await links.resume(planOf(11), NEVER);
  await links.resume(routed, NEVER);
  t.strictSame(await links.check(one.path, planOf(11), NEVER), []);
  t.strictSame(await links.check(two.path, routed, NEVER), []);
});

t.test('a pair that is gone is not found, and what is none is not touched', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  await t.rejects(links.resume(planOf(11), NEVER), { code: 'NOT_FOUND', message: /hfp11/ });
  await links.attach(one.path, planOf(11), NEVER);
  await links.quiesce('hfp11', NEVER);
  await links.remove('hfp11', NEVER);
  await t.rejects(links.resume(planOf(11), NEVER), { code: 'NOT_FOUND' });

  await host.ip('link add hfother type bridge');
  await t.rejects(links.resume(planOf(11, { hostName: 'hfother' }), NEVER), { code: 'PRECONDITION' });
  t.notMatch(await host.ip('link show hfother'), /[<,]UP[,>]/);
});

t.test('a pair that was made for other addresses stays down', { skip }, async (t) => {
  const { links } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  await links.attach(one.path, planOf(11), NEVER);
  await links.quiesce('hfp11', NEVER);
  await t.rejects(links.resume(planOf(11, { addresses: addressesOf(12) }), NEVER), {
    code: 'PRECONDITION',
    message: /was made for the addresses 10\.77\.0\.11/,
  });
  t.match(await links.list('hfp11', NEVER), [{ isUp: false }]);
});

t.test('an address that another interface has by now stays silent', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const [one, two] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'two')];
  const plan = planOf(11, { dataPlane: ROUTED });
  await host.ip('address add 192.0.2.1/32 dev lo');
  await links.attach(one.path, plan, NEVER);
  await links.quiesce('hfp11', NEVER);
  await links.attach(two.path, { ...plan, hostName: 'hfp12' }, NEVER);
  await t.rejects(links.resume(plan, NEVER), {
    code: 'HOST_FAILURE',
    message: /another interface may have that address/,
  });
  t.match(await links.list('hfp11', NEVER), [{ isUp: false }]);
  t.equal((await host.ip(`-6 route show table ${POD_ROUTE_TABLE} dev hfp11`).catch(() => '')).trim(), '');
  t.ok(await host.reaches(ipv4Of(11)), 'the one that has it goes on');
});

t.test('the owner that is noted stays', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  await links.attach(one.path, planOf(11), NEVER);
  for (const [noted, expected] of [
    [`holdfast ffffff ${ipv4Of(11)} fd77::b`, 'holdfast ffffff '],
    ['uplink', 'holdfast 0a1b2c '],
  ] as const) {
    await host.run('ip', 'link', 'set', 'hfp11', 'alias', noted);
    await links.quiesce('hfp11', NEVER);
    await links.resume(planOf(11), NEVER);
    t.match(await host.ip('link show hfp11'), `alias ${expected}${ipv4Of(11)} fd77::b`);
  }
});
