// Addresses, subnets and ranges are read strictly and written in one way only.
import { isIP } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import {
  contains,
  type Family,
  formatAddress,
  formatRange,
  formatSubnet,
  parseAddress,
  parseRange,
  parseSubnet,
  sizeOf,
} from '../../../agent/model/address.ts';
import { holds } from '../../support/properties.ts';

function same(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)}, not ${String(expected)}`);
}

const refused = (work: () => unknown): boolean => {
  try {
    work();
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'INVALID_REQUEST') return true;
    throw error;
  }
};

const MAPPED = 0xffffn << 32n;
const number6 = fc
  .array(fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n))
  .filter((value) => value >> 32n !== MAPPED >> 32n);
const number4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n });
const numbered = fc.oneof(
  number4.map((value) => ({ family: 4 as Family, value })),
  number6.map((value) => ({ family: 6 as Family, value })),
);

t.test('a number written is the number read, and Node reads the same family', async (t) => {
  holds(
    t,
    'round trip',
    fc.property(numbered, ({ family, value }) => {
      const address = formatAddress(family, value);
      same(isIP(address), family, address);
      const parsed = parseAddress(address);
      same(parsed.value, value, address);
      same(parsed.address, address, 'written again');
    }),
    2000,
  );
});

t.test('IPv6 is written as RFC 5952 says, which is how URLs have it', async (t) => {
  holds(
    t,
    'canonical',
    fc.property(number6, (value) => {
      const address = formatAddress(6, value);
      same(new URL(`http://[${address}]/`).hostname, `[${address}]`, 'as WHATWG serializes');
    }),
    2000,
  );
  t.equal(parseAddress('0:0:1:2:0:0:3:4').address, '::1:2:0:0:3:4', 'the first of two runs of the same length');
  t.equal(parseAddress('2001:DB8:0:0:1:0:0:1').address, '2001:db8::1:0:0:1');
  t.equal(parseAddress('2001:db8:0:1:1:1:1:1').address, '2001:db8:0:1:1:1:1:1', 'one zero stays');
});

t.test('what Node takes for no address is none', async (t) => {
  const piece = fc.oneof(
    fc.constantFrom('::', ':', '.', '0', '1', '255', '256', 'ffff', '10000', '%', 'eth0', '-', '/', ' ', '0x', '01'),
    fc.string({ maxLength: 3 }),
  );
  const text = fc.array(piece, { maxLength: 16 }).map((pieces) => pieces.join(''));
  holds(
    t,
    'texts',
    fc.property(fc.oneof(text, fc.ipV4Extended(), fc.ipV6(), fc.ipV4(), fc.string()), (each) => {
      const family = isIP(each);
      if (!refused(() => parseAddress(each))) same(parseAddress(each).family, family, each);
      else if (family === 4 || (family === 6 && !/[%.]/.test(each) && !/ffff/i.test(each))) {
        throw new Error(`${each} is refused`);
      }
    }),
    5000,
  );
  for (const each of [
    '::ffff:192.0.2.1',
    '::ffff:c000:201',
    'fe80::1%eth0',
    '192.0.2.01',
    '192.0.2',
    '0x7f.0.0.1',
    '',
  ]) {
    t.ok(
      refused(() => parseAddress(each)),
      each,
    );
  }
});

t.test('a subnet has its addresses and no others', async (t) => {
  holds(
    t,
    'subnets',
    fc.property(numbered, fc.nat(128), ({ family, value }, bits) => {
      const length = Math.min(bits, family === 4 ? 32 : 128);
      const size = 1n << BigInt((family === 4 ? 32 : 128) - length);
      const base = value - (value % size);
      // A text with a mapped address is refused: other programs read it as IPv4.
      if (family === 6 && base >> 32n === MAPPED >> 32n) return;
      const text = `${formatAddress(family, base)}/${length}`;
      const subnet = parseSubnet(text);
      same(formatSubnet(subnet), text, 'written again');
      same(sizeOf(subnet), size, 'size');
      same(contains(subnet, { family, value }), true, 'its own');
      same(contains(subnet, { family, value: base - 1n }), false, 'the one before');
      same(contains(subnet, { family, value: base + size }), false, 'the one behind');
      same(contains(subnet, { family: family === 4 ? 6 : 4, value }), false, 'of the other family');
      if (value !== base)
        same(
          refused(() => parseSubnet(`${formatAddress(family, value)}/${length}`)),
          true,
          'host bits',
        );
    }),
    1000,
  );
  for (const each of ['10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/8/8', '/8', '::/129', '::/-1']) {
    t.ok(
      refused(() => parseSubnet(each)),
      each,
    );
  }
  t.throws(() => parseSubnet('10.0.0.5/24'), { message: /10\.0\.0\.0\/24/ }, 'says what was meant');
});

t.test('a range is written as it was read', async (t) => {
  holds(
    t,
    'ranges',
    fc.property(fc.constantFrom(4 as const, 6 as const), number4, number4, (family, one, other) => {
      const [first, last] = one < other ? [one, other] : [other, one];
      const base = family === 4 ? 0n : 0x20010db8n << 96n;
      const range = { family, first: base + first, last: base + last };
      const read = parseRange(formatRange(range));
      same(read.first, range.first, 'first');
      same(read.last, range.last, 'last');
    }),
    500,
  );
  for (const each of ['10.0.0.2-10.0.0.1', '10.0.0.1-::1', '10.0.0.1-', '-10.0.0.1', '10.0.0.1-10.0.0.2-10.0.0.3']) {
    t.ok(
      refused(() => parseRange(each)),
      each,
    );
  }
});

t.test('there is no address beyond the last', async (t) => {
  for (const [family, value] of [
    [4, -1n],
    [4, 2n ** 32n],
    [6, 2n ** 128n],
  ] as const) {
    t.throws(() => formatAddress(family, value), { code: 'BUG' });
  }
});
