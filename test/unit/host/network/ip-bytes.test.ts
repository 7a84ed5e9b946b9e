import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { broadcastOf, ipBytes, ipText, isNetwork, parseIpPrefix } from '../../../../agent/host/network/ip-bytes.ts';
import { holds } from '../../../support/properties.ts';

t.test('addresses are read and written', async (t) => {
  for (const [text, hex] of [
    ['10.0.0.1', '0a000001'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['fe80::', 'fe800000000000000000000000000000'],
    ['2001:db8::1:0:0:1', '20010db8000000000001000000000001'],
    ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001'],
  ] as const) {
    t.equal(ipBytes(text)?.toString('hex'), hex);
    t.equal(ipText(Buffer.from(hex, 'hex')), text);
  }
  t.equal(ipBytes('::ffff:10.0.0.1')?.toString('hex'), '00000000000000000000ffff0a000001');
  t.equal(ipBytes('2001:DB8::A')?.toString('hex'), '20010db800000000000000000000000a');
  for (const text of ['', '10.0.0', '10.0.0.256', '010.0.0.1', 'fe80::1%eth0', ':::', '1::2::3', 'g::', ' ::1']) {
    t.equal(ipBytes(text), undefined, JSON.stringify(text));
  }
});

t.test('properties', async (t) => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  holds(
    t,
    'IPv6 addresses are written in the shortest form, and read back',
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const bytes = Buffer.alloc(16);
      for (const [index, value] of groups.entries()) bytes.writeUInt16BE(value, index * 2);
      const text = ipText(bytes);
      // The URL standard has the rules of RFC 5952, too.
      assert.equal(new URL(`http://[${text}]`).hostname, `[${text}]`);
      assert.ok(ipBytes(text)?.equals(bytes));
      assert.ok(ipBytes(groups.map((value) => value.toString(16)).join(':'))?.equals(bytes));
    }),
    1000,
  );
  holds(
    t,
    'no text makes it throw',
    fc.property(fc.string(), (text) => {
      ipBytes(text);
      parseIpPrefix(text);
    }),
    1000,
  );
});

t.test('prefixes', async (t) => {
  t.match(parseIpPrefix('0.0.0.0/0'), { family: 4, length: 0 });
  t.match(parseIpPrefix('10.128.0.0/9'), { family: 4, length: 9 });
  t.match(parseIpPrefix('2001:db8::/32'), { family: 6, length: 32 });
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.1/24',
    '10.64.0.0/9',
    '2001:db8::/16',
    '::/129',
    '/8',
    '::/',
  ]) {
    t.equal(parseIpPrefix(text), undefined, text);
  }
  t.ok(isNetwork(Buffer.from([10, 1, 2, 3]), 32));
  t.strictSame([...broadcastOf(Buffer.from([10, 1, 2, 3]), 20)], [10, 1, 15, 255]);
});
