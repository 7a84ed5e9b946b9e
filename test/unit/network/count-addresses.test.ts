// How much is lost with a store, by its records.
import t from 'tap';
import type { Address } from '../../../agent/model/address.ts';
import { countAddresses, NO_ADDRESSES } from '../../../agent/network/count-addresses.ts';
import { addressKey, reserveKey } from '../../../agent/network/records.ts';

const owner = { ip: 'keep' };
const pod = { namespace: 'default', name: 'db-0' };
const STATES = {
  held: { kind: 'held', host: 'h', network: 'n', containerId: 'c', ifname: 'eth0', owner, since: 1 },
  kept: { kind: 'kept', host: 'h', network: 'n', ifname: 'eth0', pod, owner, since: 1, until: 2 },
  reserved: { kind: 'reserved', host: 'h', app: pod, since: 1, until: 2 },
  quarantined: { kind: 'quarantined', host: 'h', why: 'w', since: 1, until: 2 },
};

const record = (value: unknown) => ({ value: JSON.stringify(value) });
const address = (name: string, state: unknown) =>
  [addressKey('pods', name as Address).key, record({ generation: 1, state })] as const;
const reserve = (name: string, entries: readonly unknown[]) =>
  [reserveKey({ namespace: 'default', name }, 'pods').key, record({ entries })] as const;

t.test('addresses by what they are, and apps with a reserve', (t) => {
  const records = Object.fromEntries([
    address('10.0.0.1', STATES.held),
    address('10.0.0.2', STATES.held),
    address('fd00::1', STATES.kept),
    address('10.0.0.3', STATES.reserved),
    address('10.0.0.4', STATES.quarantined),
    reserve('web', [{ addresses: ['10.0.0.3'], host: 'h', since: 1, until: 2 }]),
    reserve('empty', []),
  ]);
  t.strictSame(countAddresses(records), { held: 2, kept: 1, reserved: 1, reserves: 1 });
  t.end();
});

t.test('what cannot be read counts for nothing', (t) => {
  const [key] = address('10.0.0.1', STATES.held);
  for (const broken of [7, {}, { value: '{' }, record({ generation: 1, state: { kind: 'other' } })]) {
    t.strictSame(countAddresses({ [key]: broken, 'kept/a/b/c/d': record({}) }), NO_ADDRESSES);
  }
  t.strictSame(countAddresses({}), NO_ADDRESSES);
  t.end();
});
