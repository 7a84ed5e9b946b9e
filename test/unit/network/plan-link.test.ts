// Names, hardware addresses and routes of a sandbox's interface.
import fc from 'fast-check';
import t from 'tap';
import type { LinkRoute } from '../../../agent/host/network/pod-links.ts';
import { formatAddress, parseAddress, parseSubnet } from '../../../agent/model/address.ts';
import type { Grant } from '../../../agent/network/acquire.ts';
import {
  describeGrants,
  hostNameOf,
  isHostName,
  macOf,
  planLink,
  type Routing,
} from '../../../agent/network/plan-link.ts';
import { poolSubnet } from '../../../agent/network/pool.ts';
import { holds } from '../../support/properties.ts';

const routing = (...routes: readonly LinkRoute[]): Routing => ({ routes, defaultRoute: true });

function grantOf(text: string, cidr: string, gateway?: string): Grant {
  const { address } = parseAddress(text);
  const way = gateway === undefined ? undefined : parseAddress(gateway).address;
  return { address, subnet: poolSubnet({ subnet: parseSubnet(cidr), gateway: way, ranges: [], exclude: [] }) };
}

t.test('a host end’s name says which attachment it is of, and nothing else has it', async (t) => {
  const part = fc.string({ minLength: 1, maxLength: 20 });
  const id = fc.record({ network: part, containerId: part, ifname: part });
  holds(
    t,
    'names',
    fc.property(id, id, (one, other) => {
      if (!isHostName(hostNameOf(one))) throw new Error(hostNameOf(one));
      const isSame = JSON.stringify(Object.values(one)) === JSON.stringify(Object.values(other));
      if ((hostNameOf(one) === hostNameOf(other)) !== isSame) throw new Error('two have one name');
    }),
    500,
  );
  t.not(
    hostNameOf({ network: 'a', containerId: 'bc', ifname: 'd' }),
    hostNameOf({ network: 'ab', containerId: 'c', ifname: 'd' }),
  );
  for (const name of ['hf', 'hf0', 'hfabric0', 'hf0123456789abg', 'xhf0123456789ab']) t.notOk(isHostName(name), name);
});

t.test('a hardware address is of one interface, ours, and follows from the address', async (t) => {
  t.equal(macOf(parseAddress('10.77.0.1').address), '0a:58:0a:4d:00:01');
  holds(
    t,
    'form',
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), (value) => {
      const mac = macOf(formatAddress(6, value));
      if (!/^0a:58(:[0-9a-f]{2}){4}$/.test(mac)) throw new Error(mac);
    }),
    200,
  );
});

t.test('the answer lists addresses with the subnet’s length and the way out', async (t) => {
  const grants = [
    grantOf('10.0.0.5', '10.0.0.0/24', '10.0.0.1'),
    grantOf('2001:db8::5', '2001:db8::/64', '2001:db8::1'),
  ] as const;
  t.strictSame(describeGrants('bridge', grants, routing({ destination: '10.9.0.0/16', via: undefined })), {
    addresses: [
      { address: '10.0.0.5/24', gateway: '10.0.0.1' },
      { address: '2001:db8::5/64', gateway: '2001:db8::1' },
    ],
    routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '::/0', gw: '2001:db8::1' }, { dst: '10.9.0.0/16' }],
  });
  t.strictSame(describeGrants('routed', grants, routing()), {
    addresses: [{ address: '10.0.0.5/32' }, { address: '2001:db8::5/128' }],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  });
});

t.test('a subnet without a gateway has no way out', async (t) => {
  t.strictSame(describeGrants('ipam', [grantOf('10.0.0.5', '10.0.0.0/24')], routing()).routes, []);
});

t.test('a default route of the pool’s is the only one', async (t) => {
  const grants = [grantOf('10.0.0.5', '10.0.0.0/24', '10.0.0.1')] as const;
  const own = routing({ destination: '0.0.0.0/0', via: '10.0.0.9' });
  t.strictSame(describeGrants('ipam', grants, own).routes, [{ dst: '0.0.0.0/0', gw: '10.0.0.9' }]);
});

t.test('the plan is what was granted', async (t) => {
  const id = { network: 'pods', containerId: '1', ifname: 'eth0' };
  const plan = planLink(id, { mode: 'routed' }, [grantOf('10.0.0.5', '10.0.0.0/24', '10.0.0.1')], routing());
  t.match(plan, { hostName: hostNameOf(id), ifname: 'eth0', mac: '0a:58:0a:00:00:05' });
  t.strictSame(plan.addresses, [{ address: '10.0.0.5', family: 4, prefixLength: 24, gateway: '10.0.0.1' }]);
});
