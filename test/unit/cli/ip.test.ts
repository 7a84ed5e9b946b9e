// What `holdfast ip` shows people.
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { formatAddresses, formatHandovers, formatPools } from '../../../agent/cli/ip.ts';
import { AddressSchema, HandoverSchema, PoolSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';

const lines = (text: string): readonly string[] => text.trimEnd().split('\n');

t.test('addresses: who has them, and what waits until when', async (t) => {
  const held = create(AddressSchema, {
    address: '10.0.0.1',
    pool: 'default',
    state: 'held',
    host: 'node-1',
    namespace: 'shop',
    pod: 'db-0',
    sinceMs: 1000n,
  });
  const kept = create(AddressSchema, { ...held, address: '10.0.0.2', state: 'kept', untilMs: 3_661_000n });
  const over = create(AddressSchema, { ...held, address: '10.0.0.3', state: 'kept', untilMs: 1n });
  const [headings, ...rows] = lines(formatAddresses([held, kept, over], 61_000));
  t.match(headings, /address +pool +state +namespace +pod +app +host +age +ends in/i);
  t.match(rows, [/10\.0\.0\.1 .* held .* shop +db-0 +- +node-1 +60s +-/, /kept .* 60m$/, /kept .* 0s$/]);
  t.match(formatAddresses([], 0), /No address/);
});

t.test('pools: what is free, never less than nothing, however large', async (t) => {
  const full = { cidr: '10.0.0.0/24', size: '3', held: 2, kept: 1, reserved: 1 };
  const large = { cidr: '2001:db8::/32', size: `${2n ** 96n}`, held: 1 };
  const [, ...rows] = lines(formatPools([create(PoolSchema, { name: 'default', subnets: [full, large] })]));
  t.match(rows, [/ 3 +2 +1 +1 +0 +0$/, new RegExp(` ${2n ** 96n - 1n}$`)]);
});

t.test('hand-overs: one line each, with the time', async (t) => {
  const handover = create(HandoverSchema, {
    atMs: 0n,
    address: '10.0.0.1',
    pool: 'default',
    event: 'granted',
    namespace: 'shop',
    app: 'web',
    detail: 'it was free',
  });
  const [, row, ...more] = lines(formatHandovers([handover]));
  t.match(row, /^1970-01-01T00:00:00\.000Z +10\.0\.0\.1 +default +granted +shop +- +web +it was free$/);
  t.equal(more.length, 0);
  t.match(formatHandovers([]), /No address/);
});
