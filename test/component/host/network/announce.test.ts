// After a move the neighbours are told where an address is.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../../agent/cli/quickstart/poll.ts';
import { decodeArp } from '../../../../agent/host/network/frames/arp.ts';
import { decodeEthernet, ETHERTYPE, type EthernetFrame } from '../../../../agent/host/network/frames/ethernet.ts';
import { decodeNeighbourMessage } from '../../../../agent/host/network/frames/neighbour-discovery.ts';
import { ipBytes } from '../../../../agent/host/network/ip-bytes.ts';
import type { PacketSocket } from '../../../../agent/host/network/packet-socket.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES, type TestNamespace } from '../../../support/network-namespaces.ts';
import {
  ipv4Of,
  ipv6Of,
  joinedPlanOf,
  NEVER,
  openFrames,
  planOf,
  ROUTED,
  startHost,
  startJoinedHosts,
} from './support.ts';

const skip = NO_NETWORK_NAMESPACES;
/** Nobody has to wait for a second in these tests. */
const options = { announcePauseMs: 30 };
const bytesOf = (text: string): Buffer => ipBytes(text) ?? Buffer.alloc(0);
const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex');

function drain(socket: PacketSocket): readonly EthernetFrame[] {
  const frames: EthernetFrame[] = [];
  for (;;) {
    const bytes = socket.receive();
    if (bytes === undefined) return frames;
    const frame = decodeEthernet(bytes);
    if (frame !== undefined) frames.push(frame);
  }
}

function announcedIn(
  frames: readonly EthernetFrame[],
  number: number,
): { readonly arp: EthernetFrame[]; readonly na: EthernetFrame[] } {
  return {
    arp: frames.filter(
      ({ type, payload }) =>
        type === ETHERTYPE.ARP && decodeArp(payload)?.senderAddress.equals(bytesOf(ipv4Of(number))),
    ),
    na: frames.filter(({ type, payload }) => {
      const message = type === ETHERTYPE.IPV6 ? decodeNeighbourMessage(payload) : undefined;
      return message?.kind === 'advertisement' && message.target.equals(bytesOf(ipv6Of(number)));
    }),
  };
}

/** What the namespace knows about the address: its hardware address. */
async function knownMac(namespace: TestNamespace, address: string): Promise<string | undefined> {
  const rows = JSON.parse(await namespace.ip('-j neigh show dev eth0')) as readonly {
    readonly dst: string;
    readonly lladdr?: string;
  }[];
  return rows.find(({ dst }) => dst === address)?.lladdr;
}

t.test('a neighbour on another host finds the pod where it is now', { skip }, async (t) => {
  const [left, right] = await startJoinedHosts(t, options);
  const [before, after, neighbour] = [
    await makeNamespace(t, 'before'),
    await makeNamespace(t, 'after'),
    await makeNamespace(t, 'neighbour'),
  ];
  const oldMac = '0a:58:0a:4d:ff:01';
  await left.links.attach(before.path, joinedPlanOf(11, { mac: oldMac }), NEVER);
  await right.links.attach(neighbour.path, joinedPlanOf(12), NEVER);
  for (const address of [ipv4Of(11), ipv6Of(11)]) {
    await neighbour.reaches(address);
    t.equal(await knownMac(neighbour, address), oldMac);
    // A neighbour that is sure of itself asks nobody.
    await neighbour.ip(`neigh change ${address} lladdr ${oldMac} dev eth0 nud reachable`);
  }
  await left.links.quiesce('hfp11', NEVER);
  const plan = joinedPlanOf(11, { hostName: 'hfp13' });
  await left.links.attach(after.path, plan, NEVER);
  t.equal(await knownMac(neighbour, ipv4Of(11)), oldMac, 'by itself it does not notice');
  await left.links.announce(after.path, plan, NEVER);
  for (const address of [ipv4Of(11), ipv6Of(11)]) {
    t.equal(await knownMac(neighbour, address), plan.mac);
    t.ok(await neighbour.reaches(address));
  }
});

t.test('what is told is told three times, as the RFCs have it', { skip }, async (t) => {
  const { links } = await startHost(t, options);
  const [one, witness] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'witness')];
  const plan = planOf(11);
  await links.attach(witness.path, planOf(12), NEVER);
  await links.attach(one.path, plan, NEVER);
  const frames = await openFrames(t, witness, 'eth0');
  await links.announce(one.path, plan, NEVER);
  const { arp, na } = announcedIn(drain(frames), 11);
  const mac = macBytes(plan.mac);
  t.equal(arp.length, 3);
  t.equal(na.length, 3);
  for (const { destination, source, payload } of arp) {
    t.match(destination, Buffer.alloc(6, 0xff));
    t.match(source, mac);
    t.match(decodeArp(payload), {
      operation: 1,
      senderMac: mac,
      senderAddress: bytesOf(ipv4Of(11)),
      targetAddress: bytesOf(ipv4Of(11)),
    });
  }
  for (const { destination, source, payload } of na) {
    t.match(destination, macBytes('33:33:00:00:00:01'));
    t.match(source, mac);
    t.match(decodeNeighbourMessage(payload), { source: bytesOf(ipv6Of(11)), destination: bytesOf('ff02::1') });
    t.equal(payload.readUInt8(7), 255, 'hop limit');
    t.equal(payload.readUInt8(44), 0x20, 'the flag to override');
    t.equal(payload.subarray(64, 72).toString('hex'), `0201${mac.toString('hex')}`);
  }
});

t.test('it ends quietly', { skip }, async (t) => {
  /** Begins to announce, and does something to the sandbox after the first time. */
  const during = async (t: Test, change: (one: TestNamespace) => Promise<unknown>): Promise<number> => {
    const { links } = await startHost(t, { announcePauseMs: 400 });
    const [one, witness] = [await makeNamespace(t, 'one'), await makeNamespace(t, 'witness')];
    await links.attach(witness.path, planOf(12), NEVER);
    await links.attach(one.path, planOf(11), NEVER);
    const frames = await openFrames(t, witness, 'eth0');
    let heard = 0;
    const listen = (): number => {
      heard += announcedIn(drain(frames), 11).arp.length;
      return heard;
    };
    const announced = links.announce(one.path, planOf(11), NEVER);
    await pollUntil('the first announcement', 20_000, async () => listen() || undefined);
    await change(one);
    await announced;
    return listen();
  };
  await t.test('when the interface goes', async (t) => {
    t.equal(await during(t, (one) => one.ip('link del eth0')), 1);
  });
  await t.test('when the interface goes down', async (t) => {
    t.equal(await during(t, (one) => one.ip('link set eth0 down')), 1);
  });
  await t.test('when the sandbox’s file is no network any more', async (t) => {
    t.equal(await during(t, ({ path }) => promisify(execFile)('umount', [path])), 1);
  });
  await t.test('when another interface has taken its place', async (t) => {
    const change = async (one: TestNamespace): Promise<void> => {
      await one.ip('link set eth0 address 02:00:00:00:00:77');
    };
    t.equal(await during(t, change), 1);
  });
  await t.test('when the sandbox is gone before it begins', async (t) => {
    const { links } = await startHost(t, options);
    await links.announce('/run/netns/hftest-none', planOf(11), NEVER);
  });
});

t.test('a sandbox can go while its addresses are announced, for nothing of it is kept', { skip }, async (t) => {
  const { links, host } = await startHost(t, { announcePauseMs: 400 });
  // Removed by the test itself.
  const teardowns: (() => Promise<void>)[] = [];
  const one = await makeNamespace({ teardown: (work) => void teardowns.push(work) }, 'one');
  const witness = await makeNamespace(t, 'witness');
  await links.attach(witness.path, planOf(12), NEVER);
  await links.attach(one.path, planOf(11), NEVER);
  const frames = await openFrames(t, witness, 'eth0');
  const announced = links.announce(one.path, planOf(11), NEVER);
  await pollUntil('the first announcement', 20_000, async () => announcedIn(drain(frames), 11).arp.length || undefined);
  for (const work of teardowns) await work();
  await pollUntil('the kernel to take the pair away', 20_000, async () =>
    (await links.list('hfp11', NEVER)).length === 0 ? true : undefined,
  );
  await announced;
  t.ok(await host.reaches(ipv4Of(12)));
});

t.test('what is no sandbox is refused, and the caller can give up', { skip }, async (t) => {
  const { links, host } = await startHost(t, { announcePauseMs: 60_000 });
  for (const path of [host.path, '/dev/null', '/proc/self/ns/mnt']) {
    await t.rejects(links.announce(path, planOf(11), NEVER), { code: 'INVALID_REQUEST' }, path);
  }
  const one = await makeNamespace(t, 'one');
  await links.attach(one.path, planOf(11), NEVER);
  const controller = new AbortController();
  const reason = new Error('enough');
  const refused = t.rejects(links.announce(one.path, planOf(11), controller.signal), reason);
  await host.reaches(ipv4Of(11));
  controller.abort(reason);
  await refused;
});

t.test('in routed mode there is nobody to be told', { skip }, async (t) => {
  const { links } = await startHost(t, options);
  const one = await makeNamespace(t, 'one');
  const plan = planOf(11, { dataPlane: ROUTED });
  await links.attach(one.path, plan, NEVER);
  const frames = await openFrames(t, one, 'eth0');
  await links.announce(one.path, plan, NEVER);
  const { arp, na } = announcedIn(drain(frames), 11);
  t.strictSame([arp, na], [[], []]);
});
