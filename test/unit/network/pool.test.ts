// What pods may get of a subnet, block by block: the same as counting it through.
import fc from 'fast-check';
import t from 'tap';
import { formatAddress, parseAddress, parseSubnet } from '../../../agent/model/address.ts';
import { isTaken, roomIn, withFreed, withTaken } from '../../../agent/network/plan-block.ts';
import {
  addressAt,
  BLOCK_SIZE,
  familiesOf,
  isUsable,
  layoutOf,
  nthBlock,
  placeOf,
  poolSubnet,
  type SubnetShape,
  usableOffsets,
  usableSize,
} from '../../../agent/network/pool.ts';
import type { BlockRecord } from '../../../agent/network/records.ts';
import { holds } from '../../support/properties.ts';

function same(actual: unknown, expected: unknown, what: string): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
  }
}

/** A subnet of up to 2048 addresses, with spans in it. */
const shapes: fc.Arbitrary<SubnetShape> = fc
  .tuple(fc.boolean(), fc.integer({ min: 0, max: 11 }))
  .chain(([is4, bits]) => {
    const cidr = is4 ? `10.1.0.0/${32 - bits}` : `2001:db8::/${128 - bits}`;
    const subnet = parseSubnet(cidr);
    const place = fc.nat(2 ** bits - 1).map((offset) => subnet.base + BigInt(offset));
    const span = fc.tuple(place, place).map(([a, b]) => (a < b ? { first: a, last: b } : { first: b, last: a }));
    return fc.record({
      subnet: fc.constant(subnet),
      gateway: fc.option(
        place.map((value) => formatAddress(subnet.family, value)),
        { nil: undefined },
      ),
      ranges: fc.array(span, { maxLength: 4 }),
      exclude: fc.array(span, { maxLength: 4 }),
    });
  });

/** One by one, as the documentation says it. */
function enumerated({ subnet, gateway, ranges, exclude }: SubnetShape): readonly number[] {
  const size = Number(1n << BigInt((subnet.family === 4 ? 32 : 128) - subnet.prefixLength));
  const gatewayValue = gateway === undefined ? undefined : parseAddress(gateway).value;
  return Array.from({ length: size }, (_, offset) => offset).filter((offset) => {
    const value = subnet.base + BigInt(offset);
    const isIn = ({ first, last }: { first: bigint; last: bigint }): boolean => first <= value && value <= last;
    if (size > 2 && (offset === 0 || (subnet.family === 4 && offset === size - 1))) return false;
    if (value === gatewayValue || exclude.some(isIn)) return false;
    return ranges.length === 0 || ranges.some(isIn);
  });
}

t.test('spans, blocks and sizes are those of counting through', async (t) => {
  holds(
    t,
    'small subnets',
    fc.property(shapes, (shape) => {
      const pool = poolSubnet(shape);
      const expected = enumerated(shape);
      same(Number(usableSize(pool)), expected.length, 'size');
      const blocks = [...new Set(expected.map((offset) => Math.floor(offset / BLOCK_SIZE)))];
      const found: number[] = [];
      for (let n = 0; ; n += 1) {
        const block = nthBlock(pool, n);
        if (block === undefined) break;
        found.push(Number(block));
      }
      same(found, blocks, 'blocks');
      const offsets = blocks.flatMap((block) =>
        usableOffsets(pool, BigInt(block)).map((offset) => block * BLOCK_SIZE + offset),
      );
      same(offsets, expected, 'offsets');
      for (const offset of expected.slice(0, 20)) {
        const value = shape.subnet.base + BigInt(offset);
        const place = placeOf(pool, value);
        same(parseAddress(addressAt(pool, place.block, place.offset)).value === value, true, 'place and address');
        same(isUsable(pool, { family: shape.subnet.family, value }), true, 'usable');
      }
      const all = new Set(expected);
      const size = Number(1n << BigInt((shape.subnet.family === 4 ? 32 : 128) - shape.subnet.prefixLength));
      for (let offset = 0; offset < Math.min(size, 64); offset += 1) {
        const value = shape.subnet.base + BigInt(offset);
        same(isUsable(pool, { family: shape.subnet.family, value }), all.has(offset), `${offset} usable`);
      }
    }),
    400,
  );
});

t.test('the largest subnets are counted, not walked', async (t) => {
  const pool = poolSubnet({ subnet: parseSubnet('2001:db8::/32'), gateway: undefined, ranges: [], exclude: [] });
  t.equal(usableSize(pool), 2n ** 96n - 1n);
  t.equal(nthBlock(pool, 1_000_000), 1_000_000n);
  t.equal(usableOffsets(pool, 2n ** 80n).length, BLOCK_SIZE);
  t.equal(usableOffsets(pool, 0n).length, BLOCK_SIZE - 1, 'but for the routers’ anycast address');
});

t.test('a subnet of two or of one has no address of its own', async (t) => {
  const sizes = ['10.0.0.0/31', '10.0.0.0/32', '2001:db8::/127', '2001:db8::/128'].map((cidr) =>
    Number(usableSize(poolSubnet({ subnet: parseSubnet(cidr), gateway: undefined, ranges: [], exclude: [] }))),
  );
  t.strictSame(sizes, [2, 1, 2, 1]);
});

t.test('a layout has one name, and another has another', async (t) => {
  const of = (ranges: SubnetShape['ranges']): string =>
    layoutOf(poolSubnet({ subnet: parseSubnet('10.0.0.0/24'), gateway: undefined, ranges, exclude: [] }));
  const base = parseSubnet('10.0.0.0/24').base;
  t.equal(of([]), of([{ first: base, last: base + 255n }]));
  t.not(of([]), of([{ first: base, last: base + 9n }]));
});

t.test('families are those of the subnets, IPv4 first', async (t) => {
  const subnets = ['2001:db8::/64', '10.0.0.0/24', '10.1.0.0/24'].map((cidr) =>
    poolSubnet({ subnet: parseSubnet(cidr), gateway: undefined, ranges: [], exclude: [] }),
  );
  t.strictSame(familiesOf({ name: 'p', subnets, routes: [] }), [4, 6]);
});

t.test('a block is what was taken and given back, in any order', async (t) => {
  const pool = poolSubnet({ subnet: parseSubnet('10.0.0.0/24'), gateway: undefined, ranges: [], exclude: [] });
  const step = fc.record({ take: fc.boolean(), offset: fc.nat(255), cools: fc.nat(20), passes: fc.nat(10) });
  holds(
    t,
    'blocks',
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let record: BlockRecord | undefined;
      let now = 1;
      const taken = new Set<number>();
      const cooling = new Map<number, number>();
      for (const { take, offset, cools, passes } of steps) {
        now += passes;
        if (take) {
          record = withTaken(record, offset, now);
          taken.add(offset);
          cooling.delete(offset);
        } else {
          record = withFreed(record, offset, now + cools, now);
          taken.delete(offset);
          cooling.set(offset, now + cools);
        }
        const usable = Array.from({ length: 254 }, (_, index) => index + 1).filter((each) => !taken.has(each));
        const isCooling = (each: number): boolean => (cooling.get(each) ?? 0) > now;
        const room = roomIn(pool, 0n, record, now);
        same(
          room.free,
          usable.filter((each) => !isCooling(each)),
          'free',
        );
        same(room.cooling, usable.filter(isCooling), 'cooling');
        same(isTaken(record, offset), take, 'taken');
        if (Object.values(record.cooling).some((until) => until <= now)) throw new Error('it grows');
      }
    }),
    200,
  );
});
