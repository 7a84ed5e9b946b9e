// The settings of a network: roles, modes, defaults, and what is refused instead of being guessed at.
import t from 'tap';
import { parseNetwork } from '../../../../agent/network/cni/parse-config.ts';

const MAIN = { cniVersion: '1.1.0', name: 'pods', type: 'holdfast' };
const IPAM = { cniVersion: '1.1.0', name: 'pods', type: 'macvlan', master: 'eth0', mode: 'vepa', mtu: 'theirs' };

t.test('the main plugin makes a bridge unless it is told to route', async (t) => {
  const { dataPlane } = parseNetwork(MAIN);
  t.strictSame(dataPlane, { mode: 'bridge', bridge: 'holdfast0', hairpin: true });
  const all = { mode: 'bridge', bridge: 'br0', uplink: 'eno1', mtu: 9000, hairpin: false };
  t.strictSame(parseNetwork({ ...MAIN, ...all }).dataPlane, all);
  t.strictSame(parseNetwork({ ...MAIN, mode: 'routed' }).dataPlane, { mode: 'routed' });
  t.strictSame(parseNetwork({ ...MAIN, mode: 'routed', mtu: 1400 }).dataPlane, { mode: 'routed', mtu: 1400 });
  t.strictSame(parseNetwork({ ...MAIN, mode: null, mtu: null, ipam: null, dns: null }), parseNetwork(MAIN));
});

t.test("another plugin's own settings are not looked at", async (t) => {
  t.strictSame(parseNetwork({ ...IPAM, ipam: { type: 'holdfast', pool: 'edge' } }), {
    name: 'pods',
    dataPlane: { mode: 'ipam' },
    pool: 'edge',
  });
});

t.test('the pool is in either place', async (t) => {
  t.equal(parseNetwork({ ...MAIN, pool: 'edge' }).pool, 'edge');
  t.equal(parseNetwork({ ...MAIN, ipam: { type: 'holdfast', pool: 'edge' } }).pool, 'edge');
  t.equal(parseNetwork({ ...MAIN, pool: 'edge', ipam: { pool: 'edge' } }).pool, 'edge');
  t.notOk('pool' in parseNetwork(MAIN));
  t.throws(() => parseNetwork({ ...MAIN, pool: 'a', ipam: { pool: 'b' } }), { cniCode: 7, message: /set one of them/ });
});

t.test('who has a default route from another network says so in either place', async (t) => {
  t.equal(parseNetwork({ ...MAIN, defaultRoute: false }).defaultRoute, false);
  t.equal(parseNetwork({ ...IPAM, ipam: { type: 'holdfast', defaultRoute: false } }).defaultRoute, false);
  t.equal(parseNetwork({ ...MAIN, defaultRoute: true, ipam: { defaultRoute: false } }).defaultRoute, false);
  for (const config of [MAIN, { ...MAIN, defaultRoute: true }]) t.notOk('defaultRoute' in parseNetwork(config));
  t.throws(() => parseNetwork({ ...MAIN, defaultRoute: 'no' }), { cniCode: 7, message: /defaultRoute: "no"/ });
});

t.test('whether the link is probed', async (t) => {
  t.notOk('probe' in parseNetwork(MAIN));
  for (const probe of [true, false]) t.equal(parseNetwork({ ...MAIN, probe }).probe, probe);
  const noLink = { cniCode: 7, message: /probe: true: only for mode "bridge"/ };
  t.throws(() => parseNetwork({ ...MAIN, mode: 'routed', probe: true }), noLink);
  t.throws(() => parseNetwork({ ...IPAM, ipam: { type: 'holdfast' }, probe: true }), noLink);
  t.equal(parseNetwork({ ...MAIN, mode: 'routed', probe: false }).probe, false);
});

t.test('only the known keys of dns are passed on', async (t) => {
  const dns = { nameservers: ['10.0.0.1'], search: ['x'], options: null, other: { deep: [] } };
  t.strictSame(parseNetwork({ ...MAIN, dns }).dns, { nameservers: ['10.0.0.1'], search: ['x'] });
});

const WRONG: readonly (readonly [Readonly<Record<string, unknown>>, number, RegExp])[] = [
  [{ type: 'bridge' }, 7, /type is "bridge" and ipam\.type nothing/],
  [{ type: 'bridge', ipam: { type: 'host-local' } }, 7, /one of them must be "holdfast"/],
  [{ type: undefined }, 7, /type is nothing/],
  [{ ipam: { type: 'host-local' } }, 2, /ipam\.type is "host-local".*remove ipam\.type/],
  [{ mode: 'macvlan' }, 7, /mode: "macvlan"/],
  [{ bridge: 'a/b' }, 7, /bridge: "a\/b": no interface can have this name/],
  [{ bridge: 'br%d' }, 7, /bridge/],
  [{ uplink: '..' }, 7, /uplink/],
  [{ bridge: 'br0', uplink: 'br0' }, 7, /uplink: "br0": is the bridge itself/],
  [{ mtu: 67 }, 7, /mtu: 67/],
  [{ mtu: 65_536 }, 7, /mtu/],
  [{ mtu: 1500.5 }, 7, /mtu/],
  [{ mtu: Number.POSITIVE_INFINITY }, 7, /mtu/],
  [{ mtu: '1500' }, 7, /mtu: "1500"/],
  [{ hairpin: 'yes' }, 7, /hairpin/],
  [{ mode: 'routed', bridge: 'br0' }, 7, /bridge: "br0": only for mode "bridge"/],
  [{ mode: 'routed', uplink: 'eno1' }, 7, /uplink/],
  [{ pool: '../x' }, 7, /pool/],
  [{ ipam: { type: 'holdfast', pool: 7 } }, 7, /ipam\.pool: 7/],
  [{ ipam: 'holdfast' }, 7, /ipam/],
  [{ dns: { nameservers: 'x' } }, 7, /dns\.nameservers/],
  [{ name: 'a/b' }, 7, /name is "a\/b"/],
  [{ name: '.' }, 7, /name/],
  [{ name: 5 }, 7, /name is 5/],
  [{ mode: 'x', mtu: 'x' }, 7, /mode.*; mtu/],
];

for (const [change, cniCode, message] of WRONG) {
  t.test(`refused: ${JSON.stringify(change)}`, async (t) => {
    t.throws(() => parseNetwork({ ...MAIN, ...change }), { cniCode, message });
  });
}
