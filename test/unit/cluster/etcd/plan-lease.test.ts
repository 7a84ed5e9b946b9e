// The times of a host's lease: a host stops believing in it before it can have ended.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  formatHostRecord,
  heldUntil,
  judgeRenewal,
  leaseTimes,
  machineOf,
} from '../../../../agent/cluster/etcd/plan-lease.ts';
import { holds } from '../../../support/properties.ts';

const OWN = formatHostRecord({ identity: 'one', machine: 'm' });

t.test('a host stops before its lease can have ended, though clocks differ and answers take long', (t) => {
  const ttl = fc.integer({ min: 5, max: 600 }).map((seconds) => seconds * 1000);
  // How long a second of this host takes on the clock of etcd's leader.
  const rate = fc.double({ min: 0.985, max: 1.015, noNaN: true });
  const wayMs = fc.integer({ min: 0, max: 60_000 });
  const property = fc.property(ttl, rate, wayMs, (ttlMs, drift, way) => {
    const believedMs = heldUntil(0, ttlMs) * drift;
    const livesMs = way + ttlMs;
    assert.ok(believedMs < livesMs);
  });
  holds(t, 'believed for less than it lives', property, 500);
  t.end();
});

t.test('a member that is lost costs no lease: there are several renewals in its time', (t) => {
  for (const ttlMs of [5000, 30_000, 600_000]) {
    const { renewMs, retryMs } = leaseTimes(ttlMs);
    t.ok(heldUntil(0, ttlMs) > 4 * renewMs + retryMs);
    t.ok(retryMs <= 1000 && retryMs < renewMs);
  }
  t.end();
});

t.test('a renewal counts when nobody else can have led, and the key is ours', (t) => {
  const renewal = { ttlMs: 5000, term: 7n };
  t.equal(judgeRenewal(OWN, renewal, { value: OWN, term: 7n }), 'renewed');
  t.equal(judgeRenewal(OWN, renewal, { value: OWN, term: 8n }), 'unclear', 'another leader since');
  t.equal(judgeRenewal(OWN, { ...renewal, ttlMs: 0 }, { value: OWN, term: 7n }), 'gone');
  t.equal(judgeRenewal(OWN, renewal, { value: undefined, term: 7n }), 'gone');
  t.equal(judgeRenewal(OWN, renewal, { value: 'other', term: 8n }), 'gone');
  t.end();
});

t.test('whose a host key is', (t) => {
  t.equal(machineOf(OWN), 'm');
  for (const value of ['', '{', 'null', '[]', '{"machine":1}']) t.equal(machineOf(value), undefined, value);
  t.end();
});
