// Which of an app's addresses a new pod gets, and which are given up.
import t from 'tap';
import type { Address } from '../../../agent/model/address.ts';
import {
  pickEntry,
  type ReserveEntry,
  withEntry,
  withoutAddress,
  withoutEntry,
} from '../../../agent/network/plan-reserve.ts';

const entryOf = (host: string, ...addresses: readonly string[]): ReserveEntry => ({
  addresses: addresses as readonly string[] as Address[],
  host,
  since: 1,
  until: 2,
});
const [a1, b1, a2] = [entryOf('a', '10.0.0.1'), entryOf('b', '10.0.0.2'), entryOf('a', '10.0.0.3')];
const record = { entries: [a1, b1, a2] };

t.test('the most recent of this host, else the most recent of all', async (t) => {
  t.equal(
    pickEntry(record, 'a', () => true),
    a2,
  );
  t.equal(
    pickEntry(record, 'b', () => true),
    b1,
  );
  t.equal(
    pickEntry(record, 'c', () => true),
    a2,
  );
  t.equal(
    pickEntry({ entries: [] }, 'a', () => true),
    undefined,
  );
});

t.test('what the pool does not have any more is passed over', async (t) => {
  t.equal(
    pickEntry(record, 'a', (address) => address !== '10.0.0.3'),
    a1,
  );
  t.equal(
    pickEntry({ entries: [entryOf('a', '10.0.0.1', '2001:db8::1')] }, 'a', (address) => !address.includes(':')),
    undefined,
  );
});

t.test('the oldest go when there are too many', async (t) => {
  t.strictSame(withEntry(undefined, a1, 1), { record: { entries: [a1] }, evicted: [] });
  t.strictSame(withEntry({ entries: [a1, b1] }, a2, 2), { record: { entries: [b1, a2] }, evicted: [a1] });
  t.strictSame(withEntry(undefined, a1, 0), { record: { entries: [] }, evicted: [a1] }, 'without a reserve: at once');
});

t.test('entries and addresses are taken out', async (t) => {
  t.strictSame(withoutEntry(record, b1).entries, [a1, a2]);
  const dual = { entries: [entryOf('a', '10.0.0.1', '2001:db8::1')] };
  t.strictSame(withoutAddress(dual, '10.0.0.1' as Address).entries, [entryOf('a', '2001:db8::1')]);
  t.strictSame(withoutAddress({ entries: [a1, b1] }, '10.0.0.1' as Address).entries, [b1]);
});

t.test('after the cap was lowered, a few go at a time', async (t) => {
  const many = Array.from({ length: 20 }, (_, n) => entryOf('a', `10.0.1.${n}`));
  let { record } = withEntry({ entries: many }, a1, 2);
  t.equal(record.entries.length, 17);
  for (let n = 0; n < 6; n += 1) ({ record } = withEntry(record, a1, 2));
  t.equal(record.entries.length, 2);
});
