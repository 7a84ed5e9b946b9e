import t from 'tap';
import { checkInterfaceName, isInterfaceName } from '../../../../agent/host/network/interface-name.ts';
import { ipText } from '../../../../agent/host/network/ip-bytes.ts';
import { addressesOfAlias, aliasOf } from '../../../../agent/host/network/link-alias.ts';
import type { LinkPlan } from '../../../../agent/host/network/pod-links.ts';
import { wantedOf } from '../../../../agent/host/network/wanted.ts';

const PLAN: LinkPlan = {
  hostName: 'hfp1',
  ifname: 'eth0',
  mac: '0A:58:0a:00:00:05',
  dataPlane: { mode: 'bridge', bridge: 'br0', hairpin: false },
  addresses: [
    { address: '10.0.0.5', family: 4, prefixLength: 24, gateway: '10.0.0.1' },
    { address: 'fd00::5', family: 6, prefixLength: 64, gateway: 'fd00::1' },
  ],
  routes: [],
};

const routesOf = (plan: LinkPlan): readonly string[] =>
  wantedOf(plan).podRoutes.map(
    ({ destination, prefixLength, via, isOnLink }) =>
      `${ipText(destination)}/${prefixLength} via ${ipText(via ?? Buffer.alloc(4))}${isOnLink === true ? ' onlink' : ''}`,
  );

t.test('names of interfaces', async (t) => {
  for (const name of ['e', 'eth0', 'eth0.100', 'a-b_c@d', '123456789012345', 'brücke0'])
    t.ok(isInterfaceName(name), name);
  for (const name of [
    '',
    '.',
    '..',
    'a/b',
    'a b',
    'a\tb',
    'a\nb',
    'a\0',
    'a:1',
    '1234567890123456',
    'üüüüüüüü',
    ' ',
    'eth%d',
    'all',
    'default',
  ]) {
    t.notOk(isInterfaceName(name), JSON.stringify(name));
  }
  t.throws(() => checkInterfaceName('../x', 'the bridge'), { code: 'INVALID_REQUEST', message: /the bridge/ });
});

t.test('a default route for each family that has a gateway, unless one was asked for', async (t) => {
  t.strictSame(routesOf(PLAN), ['0.0.0.0/0 via 10.0.0.1', '::/0 via fd00::1']);
  const routes = [
    { destination: '0.0.0.0/0', via: '10.0.0.9' },
    { destination: '2001:db8::/32', via: undefined },
  ];
  t.strictSame(routesOf({ ...PLAN, routes }), [
    '::/0 via fd00::1',
    '0.0.0.0/0 via 10.0.0.9',
    '2001:db8::/32 via fd00::1',
  ]);
  const withoutGateway = PLAN.addresses.map((address) => ({ ...address, gateway: undefined }));
  t.strictSame(routesOf({ ...PLAN, addresses: withoutGateway }), []);
  t.strictSame(wantedOf({ ...PLAN, addresses: withoutGateway }).forwarded, []);
});

t.test('in routed mode the host is the only neighbour', async (t) => {
  const plan: LinkPlan = {
    ...PLAN,
    dataPlane: { mode: 'routed' },
    routes: [{ destination: '192.0.2.0/24', via: undefined }],
  };
  t.strictSame(routesOf(plan), [
    '0.0.0.0/0 via 169.254.1.1 onlink',
    '::/0 via fe80::1 onlink',
    '192.0.2.0/24 via 169.254.1.1 onlink',
  ]);
  const { joint, podAddresses } = wantedOf(plan);
  t.strictSame(
    podAddresses.map(({ prefixLength }) => prefixLength),
    [32, 128],
  );
  t.match(joint, { mode: 'routed', hostRoutes: [{ prefixLength: 32 }, { prefixLength: 128 }] });
});

t.test('without a default route gateways are the host’s alone', async (t) => {
  for (const dataPlane of [PLAN.dataPlane, { mode: 'routed' } as const]) {
    t.strictSame(wantedOf({ ...PLAN, dataPlane, routes: [], defaultRoute: false }).podRoutes, []);
    t.equal(wantedOf({ ...PLAN, dataPlane, routes: [], defaultRoute: true }).podRoutes.length, 2);
  }
});

t.test('what is not valid is refused before anything is done', async (t) => {
  const [ipv4, ipv6] = PLAN.addresses;
  if (ipv4 === undefined || ipv6 === undefined) throw new Error('they are there');
  const bridge = { mode: 'bridge', bridge: 'br0', hairpin: false } as const;
  const wrong: Readonly<Record<string, Partial<LinkPlan>>> = {
    'a path as a name': { hostName: '../../x' },
    'a long name': { ifname: 'sixteen-letters-' },
    'a path as a bridge': { dataPlane: { ...bridge, bridge: 'a/b' } },
    'a path as an uplink': { dataPlane: { ...bridge, uplink: '..' } },
    'no hardware address': { mac: '0a:58:0a:00:00' },
    'the address of a group': { mac: '01:58:0a:00:00:05' },
    'an empty hardware address': { mac: '00:00:00:00:00:00' },
    'no address': { addresses: [] },
    'too many addresses': { addresses: Array.from({ length: 7 }, () => ipv4) },
    'another family': { addresses: [{ ...ipv4, family: 6 }] },
    'no address at all': { addresses: [{ ...ipv4, address: '10.0.0' }] },
    'a prefix that is too long': { addresses: [{ ...ipv4, prefixLength: 33 }] },
    'a prefix of no bits': { addresses: [{ ...ipv4, prefixLength: 0 }] },
    'half a bit': { addresses: [{ ...ipv4, prefixLength: 24.5 }] },
    'a gateway of another family': { addresses: [{ ...ipv4, gateway: 'fd00::1' }] },
    'a small MTU': { dataPlane: { ...bridge, mtu: 1000 } },
    'a large MTU': { dataPlane: { ...bridge, mtu: 65_536 } },
    'a fraction of an MTU': { dataPlane: { mode: 'routed', mtu: 1400.5 } },
    'a probe without a link': { dataPlane: { mode: 'routed' }, probe: true },
    'a route of another family': { addresses: [ipv4], routes: [{ destination: '::/0', via: undefined }] },
    'a route that is none': { routes: [{ destination: '10.0.0.1/8', via: undefined }] },
    'a next hop of another family': { routes: [{ destination: '10.0.0.0/8', via: '::1' }] },
    'a route without a next hop': {
      addresses: [{ ...ipv4, gateway: undefined }],
      routes: [{ destination: '10.0.0.0/8', via: undefined }],
    },
  };
  for (const [name, change] of Object.entries(wrong)) {
    t.throws(() => wantedOf({ ...PLAN, ...change }), { code: 'INVALID_REQUEST' }, name);
  }
  t.equal(wantedOf({ ...PLAN, addresses: [ipv4], dataPlane: { ...bridge, mtu: 1000 } }).mtu, 1000, 'enough for IPv4');
});

t.test('the addresses are noted on the host’s end, and only ours are read back', async (t) => {
  const { podAddresses } = wantedOf(PLAN);
  t.equal(aliasOf('0a1b2c', podAddresses), 'holdfast 0a1b2c 10.0.0.5 fd00::5');
  t.strictSame(
    addressesOfAlias(aliasOf('0a1b2c', podAddresses)),
    podAddresses.map(({ bytes }) => bytes),
  );
  for (const alias of [undefined, '', 'uplink 10.0.0.5', 'holdfast', 'holdfast x ../ 10.0.0']) {
    t.strictSame(addressesOfAlias(alias), [], String(alias));
  }
});
