// A host forgets where an address was before.
import t from 'tap';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import { BRIDGE, ipv4Of, ipv6Of, NEVER, planOf, ROUTED, startHost, startJoinedHosts } from './support.ts';

const skip = NO_NETWORK_NAMESPACES;
const ELSEWHERE = '02:00:00:00:00:77';

async function note(host: TestNamespace, ifname: string): Promise<void> {
  for (const address of [ipv4Of(11), ipv6Of(11)]) {
    await host.ip(`neigh replace ${address} lladdr ${ELSEWHERE} dev ${ifname} nud reachable`);
  }
}

/** Whether the host still has the address elsewhere. */
async function remembers(host: TestNamespace, ifname: string): Promise<boolean> {
  return (await host.ip(`neigh show dev ${ifname}`)).includes(ELSEWHERE);
}

t.test('on a bridge and its uplink', { skip }, async (t) => {
  const [{ links, host }] = await startJoinedHosts(t);
  const one = await makeNamespace(t, 'one');
  const plan = planOf(11, { dataPlane: { ...BRIDGE, uplink: 'up0' } });
  for (const address of ['10.77.0.1/16', 'fd77::1/64']) await host.ip(`address add ${address} dev hfbr0`);
  for (const ifname of ['hfbr0', 'up0']) await note(host, ifname);
  await links.attach(one.path, plan, NEVER);
  t.ok(await remembers(host, 'up0'), 'without being told that it moved it does not look');
  await links.quiesce('hfp11', NEVER);
  for (const ifname of ['hfbr0', 'up0']) await note(host, ifname);

  await links.resume({ ...plan, moved: true }, NEVER);
  for (const ifname of ['hfbr0', 'up0']) t.notOk(await remembers(host, ifname), `${ifname} after it came back`);
  t.ok(await host.reaches(ipv4Of(11)));

  await links.remove('hfp11', NEVER);
  for (const ifname of ['hfbr0', 'up0']) await note(host, ifname);
  await links.attach(one.path, { ...plan, moved: true }, NEVER);
  for (const ifname of ['hfbr0', 'up0']) t.notOk(await remembers(host, ifname), `${ifname} after it was attached`);
  for (const address of [ipv4Of(11), ipv6Of(11)]) t.ok(await host.reaches(address));
});

t.test('on the interface that the host reached it by', { skip }, async (t) => {
  const { links, host } = await startHost(t);
  await host.ip('link add lan0 type veth peer name lan1');
  for (const ifname of ['lan0', 'lan1']) await host.ip(`link set ${ifname} up`);
  await host.ip('address add 10.77.0.2/16 dev lan0');
  await host.ip('address add fd77::2/64 dev lan0 nodad');
  for (const [dataPlane, hostName] of [
    [ROUTED, 'hfp11'],
    [BRIDGE, 'hfp12'],
  ] as const) {
    const one = await makeNamespace(t, 'one');
    await note(host, 'lan0');
    t.ok(await remembers(host, 'lan0'));
    await links.attach(one.path, planOf(11, { hostName, dataPlane, moved: true }), NEVER);
    t.notOk(await remembers(host, 'lan0'), dataPlane.mode);
    await links.remove(hostName, NEVER);
  }
});

t.test('a host without a way to the address has nothing to forget', { skip }, async (t) => {
  const { links } = await startHost(t);
  const one = await makeNamespace(t, 'one');
  const plan = planOf(11, { dataPlane: ROUTED, moved: true });
  await links.attach(one.path, plan, NEVER);
  t.strictSame(await links.check(one.path, plan, NEVER), []);
});
