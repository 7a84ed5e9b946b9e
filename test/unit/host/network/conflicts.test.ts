import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { conflictIn } from '../../../../agent/host/network/conflicts.ts';
import { arpAnnouncement, arpProbe, encodeArp } from '../../../../agent/host/network/frames/arp.ts';
import { BROADCAST_MAC, ETHERTYPE, encodeEthernet } from '../../../../agent/host/network/frames/ethernet.ts';
import {
  duplicateSolicitation,
  unsolicitedAdvertisement,
} from '../../../../agent/host/network/frames/neighbour-discovery.ts';
import { ipBytes } from '../../../../agent/host/network/ip-bytes.ts';
import { holds } from '../../../support/properties.ts';

const OWN = Buffer.from('020000000001', 'hex');
const OTHER = Buffer.from('020000000002', 'hex');
const bytesOf = (text: string): Buffer => ipBytes(text) ?? Buffer.alloc(0);
const [IPV4, IPV6] = [bytesOf('10.77.0.11'), bytesOf('fd77::b')];
const ADDRESSES = [IPV4, IPV6];

interface Arp {
  readonly operation: number;
  readonly senderMac?: Buffer;
  readonly sender: string;
  readonly target: string;
}

function arpFrame({ operation, senderMac = OTHER, sender, target }: Arp): Buffer {
  const payload = encodeArp({
    operation,
    senderMac,
    senderAddress: bytesOf(sender),
    targetMac: OWN,
    targetAddress: bytesOf(target),
  });
  return encodeEthernet({ destination: BROADCAST_MAC, source: OTHER, type: ETHERTYPE.ARP, payload });
}

t.test('another one who has an address, or is about to', async (t) => {
  for (const [what, frame, address] of [
    ['an answer', arpFrame({ operation: 2, sender: '10.77.0.11', target: '0.0.0.0' }), IPV4],
    ['a request of who has it', arpFrame({ operation: 1, sender: '10.77.0.11', target: '10.77.0.1' }), IPV4],
    ['an announcement', arpAnnouncement(IPV4, OTHER), IPV4],
    ['another’s probe', arpProbe(IPV4, OTHER), IPV4],
    ['an advertisement', unsolicitedAdvertisement(IPV6, OTHER), IPV6],
    ['another’s detection of duplicates', duplicateSolicitation(IPV6, OTHER), IPV6],
  ] as const) {
    t.strictSame(conflictIn(frame, ADDRESSES, OWN), { address, mac: OTHER }, what);
    t.equal(conflictIn(frame, [bytesOf('10.77.0.12'), bytesOf('fd77::c')], OWN), undefined, `${what}: not ours`);
    t.equal(conflictIn(frame.subarray(0, 40), ADDRESSES, OWN), undefined, `${what}: cut off`);
  }
});

t.test('what is no conflict', async (t) => {
  for (const [what, frame] of [
    ['somebody asks for the address', arpFrame({ operation: 1, sender: '10.77.0.12', target: '10.77.0.11' })],
    ['an answer to somebody without an address', arpFrame({ operation: 2, sender: '0.0.0.0', target: '10.77.0.11' })],
    ['our own probe, passed on', arpFrame({ operation: 1, senderMac: OWN, sender: '0.0.0.0', target: '10.77.0.11' })],
    ['nothing', Buffer.alloc(0)],
  ] as const) {
    t.equal(conflictIn(frame, ADDRESSES, OWN), undefined, what);
  }
});

t.test('properties', async (t) => {
  const bytes = (minLength: number, maxLength = minLength) =>
    fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
  const address = fc.oneof(bytes(4), bytes(16)).filter(([first]) => first !== 0xff);
  holds(
    t,
    'our own probe is never one, whatever the address',
    fc.property(address, bytes(6), (one, mac) => {
      const frame = one.length === 4 ? arpProbe(one, mac) : duplicateSolicitation(one, mac);
      assert.equal(conflictIn(frame, [one], mac), undefined);
    }),
    500,
  );
  holds(
    t,
    'a conflict is about one of the addresses, and comes from somebody else',
    fc.property(fc.array(address, { maxLength: 3 }), address, bytes(6), (own, one, mac) => {
      const frame = one.length === 4 ? arpAnnouncement(one, mac) : unsolicitedAdvertisement(one, mac);
      const conflict = conflictIn(frame, own, OWN);
      const isIt = own.some((each) => each.equals(one)) && !mac.equals(OWN) && one.some((byte) => byte !== 0);
      if (isIt) assert.deepEqual(conflict, { address: one, mac });
      else if (one.some((byte) => byte !== 0)) assert.equal(conflict, undefined);
    }),
    500,
  );
  const outside = fc.constantFrom(ETHERTYPE.ARP, ETHERTYPE.IPV6, 0x0800);
  holds(
    t,
    'no bytes make it throw',
    fc.property(outside, bytes(0, 100), fc.boolean(), (type, payload, isWhole) => {
      conflictIn(
        isWhole ? encodeEthernet({ destination: BROADCAST_MAC, source: OTHER, type, payload }) : payload,
        ADDRESSES,
        OWN,
      );
    }),
    1000,
  );
});
