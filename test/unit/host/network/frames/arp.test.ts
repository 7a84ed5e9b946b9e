import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { arpAnnouncement, arpProbe, decodeArp, encodeArp } from '../../../../../agent/host/network/frames/arp.ts';
import { decodeEthernet, ETHERTYPE } from '../../../../../agent/host/network/frames/ethernet.ts';
import { holds } from '../../../../support/properties.ts';

const MAC = Buffer.from('0a580a4d000b', 'hex');
const ADDRESS = Buffer.from([10, 77, 0, 11]);

t.test('a probe says nothing about the one who asks', async (t) => {
  t.equal(
    arpProbe(ADDRESS, MAC).toString('hex'),
    [
      'ffffffffffff 0a580a4d000b 0806', // to all, from us, ARP
      '0001 0800 06 04 0001', // Ethernet, IPv4, a request
      '0a580a4d000b 00000000', // the sender, with no address
      '000000000000 0a4d000b', // the target
    ]
      .join('')
      .replaceAll(' ', ''),
  );
});

t.test('an announcement has the address as sender and as target', async (t) => {
  t.equal(
    arpAnnouncement(ADDRESS, MAC).toString('hex'),
    'ffffffffffff 0a580a4d000b 0806 0001 0800 06 04 0001 0a580a4d000b 0a4d000b 000000000000 0a4d000b'.replaceAll(
      ' ',
      '',
    ),
  );
});

t.test('what is not ARP for IPv4 on Ethernet is passed over', async (t) => {
  const whole = decodeEthernet(arpProbe(ADDRESS, MAC));
  t.equal(whole?.type, ETHERTYPE.ARP);
  const packet = whole?.payload ?? Buffer.alloc(0);
  t.match(decodeArp(packet), { operation: 1, senderMac: MAC, targetAddress: ADDRESS });
  t.match(decodeArp(Buffer.concat([packet, Buffer.alloc(18)])), { targetAddress: ADDRESS }, 'padding does not matter');
  for (const [offset, what] of [
    [1, 'hardware'],
    [2, 'protocol'],
    [4, 'length of hardware addresses'],
    [5, 'length of protocol addresses'],
  ] as const) {
    const other = Buffer.from(packet);
    other[offset] = 9;
    t.equal(decodeArp(other), undefined, `another ${what}`);
  }
  t.equal(decodeArp(packet.subarray(0, 27)), undefined, 'one byte too few');
  t.equal(decodeEthernet(Buffer.alloc(13)), undefined);
});

t.test('properties', async (t) => {
  const bytes = (length: number) =>
    fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
  const packets = fc.record(
    {
      operation: fc.integer({ min: 0, max: 0xffff }),
      senderMac: bytes(6),
      senderAddress: bytes(4),
      targetMac: bytes(6),
      targetAddress: bytes(4),
    },
    { noNullPrototype: true },
  );
  holds(
    t,
    'what is written is read back',
    fc.property(packets, (packet) => assert.deepEqual(decodeArp(encodeArp(packet)), packet)),
    500,
  );
  holds(
    t,
    'no bytes make it throw',
    fc.property(fc.uint8Array({ maxLength: 60 }), (array) => {
      const ethernet = decodeEthernet(Buffer.from(array));
      decodeArp(Buffer.from(array));
      if (ethernet !== undefined) decodeArp(ethernet.payload);
    }),
    1000,
  );
});
