// Joining a sandbox and taking it off again, over interfaces that fail or take long: nobody's address is given away while
// it speaks, and nothing is left that nobody was told of.
import pino from 'pino';
import t from 'tap';
import { parseSubnet } from '../../../agent/model/address.ts';
import { Attachments } from '../../../agent/network/attachments.ts';
import type { AddRequest, DataPlane } from '../../../agent/network/cni/request.ts';
import type { LeaseContext } from '../../../agent/network/lease-context.ts';
import { listAttachments } from '../../../agent/network/list-attachments.ts';
import { Owners } from '../../../agent/network/owners.ts';
import { hostNameOf } from '../../../agent/network/plan-link.ts';
import type { PodLinks } from '../../../agent/network/pod-links.ts';
import { poolSubnet } from '../../../agent/network/pool.ts';
import { KeyedMutex } from '../../../lib/keyed-mutex.ts';
import { memoryLeaseStore } from '../../support/memory-lease-store.ts';

const SIGNAL = new AbortController().signal;
const BRIDGE: DataPlane = { mode: 'bridge', bridge: 'br0', hairpin: true };

/** @param onAttach - what happens just before an interface is there */
function setUp(onAttach: () => void = () => undefined) {
  const there = new Set<string>();
  const links: PodLinks = {
    attach: async (_netns, { hostName, mac }) => {
      if (there.has(hostName)) throw new Error(`${hostName} is there already`);
      onAttach();
      there.add(hostName);
      return { hostName, hostMac: mac, mac, mtu: 1500 };
    },
    quiesce: async () => undefined,
    remove: async (hostName) => void there.delete(hostName),
    check: async () => [],
    list: async () => [...there].map((name) => ({ name, isUp: true, isOwn: true, addresses: [] })),
    close: async () => undefined,
  };
  const shape = { exclude: [], ranges: [], gateway: undefined };
  const pool = {
    name: 'default',
    subnets: [poolSubnet({ subnet: parseSubnet('192.0.2.0/29'), ...shape })],
    routes: [],
  };
  const leases: LeaseContext = {
    store: memoryLeaseStore(),
    host: 'a',
    turns: new KeyedMutex(),
    pools: new Map([['default', pool]]),
    options: { keepFor: 1000, reserve: { cap: 3, keepFor: 1000 }, cooldown: 0 },
    now: () => 1,
    hints: new Map(),
    onHandover: () => undefined,
  };
  const attachments = new Attachments({
    leases,
    links,
    owners: new Owners({ appLabel: 'app', defaultIp: 'none', byNamespace: new Map() }),
    defaultPool: 'default',
    logger: pino({ enabled: false }),
    reach: async () => undefined,
  });
  attachments.open();
  return { attachments, there, held: async () => (await listAttachments(leases, SIGNAL)).map(({ id }) => id) };
}

const ID = { network: 'pods', containerId: 'one', ifname: 'eth0' };

function addOf(dataPlane: DataPlane): AddRequest {
  return { command: 'ADD', id: ID, netns: '/n', config: { name: 'pods', dataPlane }, pod: {} };
}

t.test('the caller goes while the interface is made', async (t) => {
  const caller = new AbortController();
  const { attachments, there, held } = setUp(() => caller.abort(new Error('gone')));
  await t.rejects(attachments.add(addOf(BRIDGE), caller.signal), /gone/);
  await attachments.settled();
  t.strictSame(await held(), []);
  t.strictSame([...there], []);
});

t.test('a second ADD takes nothing from the first', async (t) => {
  const { attachments, there, held } = setUp();
  await attachments.add(addOf(BRIDGE), SIGNAL);
  await t.rejects(attachments.add(addOf(BRIDGE), SIGNAL), /is there already/);
  t.strictSame(await held(), [ID]);
  t.strictSame([...there], [hostNameOf(ID)]);
});

t.test('an IPAM plugin is told addresses once', async (t) => {
  const { attachments, held } = setUp();
  const { addresses } = await attachments.add(addOf({ mode: 'ipam' }), SIGNAL);
  t.equal(addresses.length, 1);
  await t.rejects(attachments.add(addOf({ mode: 'ipam' }), SIGNAL), { code: 'PRECONDITION' });
  t.strictSame(await held(), [ID]);
});
