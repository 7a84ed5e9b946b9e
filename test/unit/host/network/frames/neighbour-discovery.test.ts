import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { decodeEthernet, ETHERTYPE } from '../../../../../agent/host/network/frames/ethernet.ts';
import {
  decodeNeighbourMessage,
  duplicateSolicitation,
  icmpv6Checksum,
  unsolicitedAdvertisement,
} from '../../../../../agent/host/network/frames/neighbour-discovery.ts';
import { ipBytes } from '../../../../../agent/host/network/ip-bytes.ts';
import { holds } from '../../../../support/properties.ts';

const MAC = Buffer.from('0a580a4d000c', 'hex');
const ADDRESS = ipBytes('fd77::99') ?? Buffer.alloc(0);

/** Duplicate address detection of Linux 6.18, with the nonce of RFC 7527 behind it. */
const OF_LINUX = Buffer.from(
  '3333ff0000990a580a4d000c86dd6000000000203aff00000000000000000000000000000000ff0200000000000000000001ff00009987002ff800000000fd7700000000000000000000000000990e0127b68c2f8a17',
  'hex',
);

const payloadOf = (frame: Buffer): Buffer => decodeEthernet(frame)?.payload ?? Buffer.alloc(0);

/** A changed copy of a packet; its checksum is made right again, where asked. */
function changed(packet: Buffer, changes: Readonly<Record<number, number>>, isRepaired = true): Buffer {
  const copy = Buffer.from(packet);
  for (const [offset, value] of Object.entries(changes)) copy.writeUInt8(value, Number(offset));
  if (isRepaired) {
    copy.writeUInt16BE(0, 42);
    copy.writeUInt16BE(icmpv6Checksum(copy.subarray(8, 24), copy.subarray(24, 40), copy.subarray(40)), 42);
  }
  return copy;
}

t.test('a solicitation is the kernel’s own but for the nonce', async (t) => {
  const ours = duplicateSolicitation(ADDRESS, MAC);
  const [end, checksum] = [OF_LINUX.length - 8, 14 + 42];
  const expected = Buffer.from(OF_LINUX.subarray(0, end));
  expected.writeUInt16BE(24, 14 + 4);
  t.strictSame(ours.subarray(0, checksum), expected.subarray(0, checksum));
  t.strictSame(ours.subarray(checksum + 2), expected.subarray(checksum + 2));
  t.match(decodeNeighbourMessage(payloadOf(OF_LINUX)), {
    kind: 'solicitation',
    target: ADDRESS,
    isDuplicateDetection: true,
  });
  t.match(decodeNeighbourMessage(payloadOf(ours)), {
    kind: 'solicitation',
    target: ADDRESS,
    isDuplicateDetection: true,
  });
});

t.test('an unsolicited advertisement goes to all nodes and overrides what they knew', async (t) => {
  const frame = unsolicitedAdvertisement(ADDRESS, MAC);
  const packet = payloadOf(frame);
  t.match(decodeEthernet(frame), {
    destination: Buffer.from('333300000001', 'hex'),
    source: MAC,
    type: ETHERTYPE.IPV6,
  });
  t.match(decodeNeighbourMessage(packet), {
    kind: 'advertisement',
    source: ADDRESS,
    destination: ipBytes('ff02::1'),
    target: ADDRESS,
    isDuplicateDetection: false,
  });
  t.equal(packet.readUInt8(7), 255, 'hop limit');
  t.equal(packet.subarray(44, 48).toString('hex'), '20000000', 'only the flag to override');
  t.equal(packet.subarray(64).toString('hex'), `0201${MAC.toString('hex')}`, 'the target’s link-layer address');
});

t.test('what a receiver has to pass over is passed over', async (t) => {
  const solicitation = payloadOf(OF_LINUX);
  const advertisement = payloadOf(unsolicitedAdvertisement(ADDRESS, MAC));
  t.ok(decodeNeighbourMessage(changed(solicitation, {})), 'but not the copy as such');
  for (const [what, packet] of Object.entries({
    'another version': changed(solicitation, { 0: 0x40 }),
    'another protocol': changed(solicitation, { 6: 17 }),
    'from behind a router': changed(solicitation, { 7: 254 }),
    'a wrong checksum': changed(solicitation, { 42: 0, 43: 0 }, false),
    'another type': changed(solicitation, { 40: 133 }),
    'another code': changed(solicitation, { 41: 1 }),
    'a group as target': changed(solicitation, { 48: 0xff }),
    'an option without length': changed(solicitation, { 65: 0 }),
    'an option that is too long': changed(solicitation, { 65: 2 }),
    'a detection of duplicates to one host': changed(solicitation, { 24: 0xfd }),
    'a solicited advertisement to a group': changed(advertisement, { 44: 0x60 }),
    'a length beyond the packet': changed(solicitation, { 5: 64 }),
    'no length': changed(solicitation, { 5: 0 }),
  })) {
    t.equal(decodeNeighbourMessage(packet), undefined, what);
  }
  t.match(
    decodeNeighbourMessage(changed(solicitation, { 8: 0xfd })),
    { isDuplicateDetection: false },
    'who has an address already resolves a neighbour’s',
  );
});

t.test('properties', async (t) => {
  const bytes = (minLength: number, maxLength = minLength) =>
    fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
  const unicast = bytes(16).filter((address) => address[0] !== 0xff && address.some((byte) => byte !== 0));
  holds(
    t,
    'what is written is read back',
    fc.property(unicast, bytes(6), (address, mac) => {
      for (const frame of [duplicateSolicitation(address, mac), unsolicitedAdvertisement(address, mac)]) {
        const message = decodeNeighbourMessage(payloadOf(frame));
        assert.deepEqual(message?.target, address);
        assert.equal(message?.isDuplicateDetection, message?.kind === 'solicitation');
      }
    }),
    500,
  );
  holds(
    t,
    'a changed byte of what is covered by the checksum is noticed',
    fc.property(
      unicast,
      fc.integer({ min: 8, max: 63 }),
      fc.integer({ min: 1, max: 255 }),
      (address, offset, change) => {
        const packet = Buffer.from(payloadOf(duplicateSolicitation(address, MAC)));
        packet.writeUInt8(packet.readUInt8(offset) ^ change, offset);
        assert.equal(decodeNeighbourMessage(packet), undefined);
      },
    ),
    500,
  );
  const hostile = fc.oneof(
    bytes(0, 120),
    // Well-formed outside, and anything inside.
    fc.tuple(bytes(16), bytes(16), bytes(24, 64)).map(([source, destination, message]) => {
      const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
      message.writeUInt8(135 + (message.readUInt8(0) % 2), 0);
      return changed(Buffer.concat([header, source, destination, message]), { 41: 0 });
    }),
  );
  holds(
    t,
    'no bytes make it throw',
    fc.property(hostile, (packet) => void decodeNeighbourMessage(packet)),
    2000,
  );
});
