import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { podUid } from '../../../agent/model/ids.ts';
import { type Layer, layerKey } from '../../../agent/reuse/layer.ts';
import { LEASE_LABEL, leaseId, leaseLabels, readLease } from '../../../agent/reuse/lease-labels.ts';
import { holds } from '../../support/properties.ts';
import { keptLayer, SUBJECT } from './records.ts';

t.test('a layer is read back from its lease', async (t) => {
  const layer = keptLayer('a', { image: 'docker.io/library/x@sha256:1', createdAt: 12, handovers: 3 });
  const id = leaseId(SUBJECT, layer.snapshot);
  t.match(id, /^holdfast-layer-[0-9a-f]{40}$/);
  const labels = leaseLabels(SUBJECT, layer);
  t.ok(LEASE_LABEL in labels);
  const expected: Layer = { ...layer, holder: { kind: 'kept', lease: id, since: 99 } };
  t.strictSame(readLease({ id, labels, createdAt: 99 }), { subject: SUBJECT, layer: expected });
});

t.test('a lease that is not ours, or was changed, is left alone', async (t) => {
  const { snapshot } = keptLayer('a');
  const id = leaseId(SUBJECT, snapshot);
  const labels = leaseLabels(SUBJECT, keptLayer('a'));
  t.equal(readLease({ id: 'another', labels, createdAt: 1 }), undefined);
  t.equal(readLease({ id, labels: {}, createdAt: 1 }), undefined);
  t.equal(readLease({ id, labels: { ...labels, 'holdfast.dev/pod-uid': 'another pod' }, createdAt: 1 }), undefined);
  const odd = { ...labels, 'holdfast.dev/created': 'yesterday', 'holdfast.dev/handovers': '-1' };
  t.match(readLease({ id, labels: odd, createdAt: 1 })?.layer, { createdAt: 0, handovers: 0 });
});

t.test('a very long image name fits into a label', async (t) => {
  const labels = leaseLabels(SUBJECT, keptLayer('a', { image: 'x'.repeat(10_000) }));
  for (const [key, value] of Object.entries(labels)) t.ok(key.length + value.length <= 4096, key);
});

t.test('keys and leases of different containers differ, whatever they are called', async (t) => {
  const name = fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom('a', '/', '%', '2', 'F', '#', '\0') });
  holds(
    t,
    'no two containers share a key',
    fc.property(name, name, name, name, (uid1, container1, uid2, container2) => {
      const one = { podUid: podUid(uid1), container: container1 };
      const two = { podUid: podUid(uid2), container: container2 };
      const same = uid1 === uid2 && container1 === container2;
      assert.equal(layerKey(one) === layerKey(two), same);
      const snapshot = keptLayer('a').snapshot;
      assert.equal(leaseId({ ...SUBJECT, ...one }, snapshot) === leaseId({ ...SUBJECT, ...two }, snapshot), same);
    }),
    1000,
  );
  for (const container of ['', 'x'.repeat(254)]) {
    t.throws(() => layerKey({ podUid: podUid('uid'), container }), { code: 'INVALID_REQUEST' });
  }
});
