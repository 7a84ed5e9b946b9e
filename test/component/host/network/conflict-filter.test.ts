// The kernel lets in what may tell of a conflict, and nothing else.
import t from 'tap';
import { pollUntil } from '../../../../agent/cli/quickstart/poll.ts';
import { arpAnnouncement, arpProbe } from '../../../../agent/host/network/frames/arp.ts';
import { conflictFilter } from '../../../../agent/host/network/frames/conflict-filter.ts';
import { encodeEthernet } from '../../../../agent/host/network/frames/ethernet.ts';
import {
  duplicateSolicitation,
  unsolicitedAdvertisement,
} from '../../../../agent/host/network/frames/neighbour-discovery.ts';
import { ipBytes } from '../../../../agent/host/network/ip-bytes.ts';
import { makeNamespace, NO_NETWORK_NAMESPACES } from '../../../support/network-namespaces.ts';
import { openFrames } from './support.ts';

const MAC = Buffer.from('020000000002', 'hex');
const bytesOf = (text: string): Buffer => ipBytes(text) ?? Buffer.alloc(0);

/** With the tag of IEEE 802.1Q. */
function tagged(frame: Buffer, vlan: number): Buffer {
  const tag = Buffer.from([0x81, 0x00, 0x60 | (vlan >> 8), vlan & 0xff]);
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)]);
}

/** An IPv6 packet of a protocol and type, with the target in its place. */
function packetLike(protocol: number, type: number, target: Buffer): Buffer {
  const frame = Buffer.from(unsolicitedAdvertisement(target, MAC));
  frame.writeUInt8(protocol, 14 + 6);
  frame.writeUInt8(type, 14 + 40);
  return frame;
}

t.test('frames about some addresses', { skip: NO_NETWORK_NAMESPACES }, async (t) => {
  const [here, there] = [await makeNamespace(t, 'here'), await makeNamespace(t, 'there')];
  await here.ip(`link add eth0 type veth peer name eth0 netns ${there.name}`);
  for (const end of [here, there]) await end.ip('link set eth0 up');
  const [sender, back] = [await openFrames(t, there, 'eth0'), await openFrames(t, here, 'eth0')];

  for (const [name, addresses] of Object.entries({
    'of both families': ['10.77.0.11', '10.77.0.12', '10.77.1.11', 'fd77::b', 'fd77::c', 'fd77::1:0:0:d'],
    'of IPv4': ['10.77.0.11'],
    'of IPv6': ['fd77::b'],
  })) {
    await t.test(name, async (t) => {
      const filtered = await openFrames(t, here, 'eth0', conflictFilter(addresses.map(bytesOf)));
      const about = (address: Buffer): readonly Buffer[] =>
        address.length === 4
          ? [arpAnnouncement(address, MAC), arpProbe(address, MAC)]
          : [unsolicitedAdvertisement(address, MAC), duplicateSolicitation(address, MAC)];
      const own = addresses.flatMap((address) => about(bytesOf(address)));
      const [first = Buffer.alloc(0)] = own;
      const others = [
        ...['10.77.0.13', '11.77.0.11', 'fd77::e', '::'].flatMap((address) => about(bytesOf(address))),
        tagged(first, 5),
        first.subarray(0, 24),
        packetLike(17, 136, bytesOf('fd77::b')),
        packetLike(58, 128, bytesOf('fd77::b')),
        encodeEthernet({ destination: MAC, source: MAC, type: 0x0800, payload: Buffer.alloc(100, 11) }),
      ];
      // What goes out by the same interface is not of another one.
      for (const frame of own) t.equal(back.send(frame), 0);
      const last = tagged(first, 0);
      for (const frame of [...others, ...own, last]) t.equal(sender.send(frame), 0);
      const received: string[] = [];
      await pollUntil('the last frame', 20_000, async () => {
        for (;;) {
          const frame = filtered.receive();
          if (frame === undefined) return received.length > own.length ? true : undefined;
          received.push(frame.toString('hex'));
        }
      });
      // The kernel hands the tag out beside the frame.
      t.strictSame(
        received,
        [...own, first].map((frame) => frame.toString('hex')),
      );
    });
  }
});
