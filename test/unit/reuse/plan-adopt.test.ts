import t from 'tap';
import { type ContainerId, containerId } from '../../../agent/model/ids.ts';
import { planAdoption, type SeenContainer, type SeenLease } from '../../../agent/reuse/plan-adopt.ts';
import { A, B, C, heldLayer, keptLayer, record, SUBJECT } from './records.ts';

function seen(id: ContainerId, createdAt: number, more: Partial<SeenContainer> = {}): SeenContainer {
  const { snapshot, parent } = heldLayer(id);
  return { id, createdAt, state: 'exited', image: 'image', snapshot, parent, isEmpty: false, ...more };
}

function lease(key: string, createdAt: number, more: Partial<SeenLease> = {}): SeenLease {
  const layer = keptLayer(key, { createdAt });
  return { layer, lease: `lease-${key}`, snapshotExists: true, isNamed: false, isEmpty: false, ...more };
}

t.test('nothing there, nothing adopted', async (t) => {
  t.strictSame(planAdoption(SUBJECT, undefined, [], []), { layers: undefined, dropped: [], deadLeases: [] });
  t.equal(planAdoption(SUBJECT, undefined, [seen(A, 1, { isEmpty: true })], []).layers, undefined);
});

t.test('the running container has the layer, even when nothing is written yet', async (t) => {
  const running = seen(A, 1, { state: 'running', isEmpty: true });
  t.match(planAdoption(SUBJECT, undefined, [seen(B, 2), running], []).layers?.current?.holder, { id: A });
});

t.test('else the newest with something in it: a transplant leaves the others empty', async (t) => {
  const containers = [seen(A, 1, { isEmpty: true }), seen(B, 2), seen(C, 3, { state: 'created', isEmpty: true })];
  t.match(planAdoption(SUBJECT, undefined, containers, []).layers, { current: { holder: { id: B } } });
});

t.test('a kept layer is found by its lease; an older container from before an upgrade does not hide it', async (t) => {
  const { layers, dropped } = planAdoption(SUBJECT, undefined, [seen(A, 1)], [lease('kept', 2)]);
  t.match(layers, { current: { holder: { kind: 'kept', lease: 'lease-kept' } } });
  t.equal(layers?.superseded, undefined);
  t.strictSame(dropped, []);
});

t.test('a kept layer beside a newer container is stranded: nobody gave it up', async (t) => {
  const { layers, dropped } = planAdoption(SUBJECT, undefined, [seen(B, 3)], [lease('kept', 1)]);
  t.match(layers, {
    current: { holder: { id: B } },
    superseded: { stage: 'stranded', layer: { holder: { lease: 'lease-kept' } } },
  });
  t.strictSame(dropped, []);
});

t.test('emptied kept layers are dropped once the layer is elsewhere', async (t) => {
  const emptied = lease('kept', 1, { isEmpty: true });
  const { layers, dropped } = planAdoption(SUBJECT, undefined, [seen(B, 3)], [emptied]);
  t.match(layers?.current?.holder, { id: B });
  t.match(dropped, [{ lease: 'lease-kept' }]);
  t.match(planAdoption(SUBJECT, undefined, [], [emptied]).layers?.current?.holder, { lease: 'lease-kept' });
});

t.test('leases that keep nothing end, their snapshots are left alone', async (t) => {
  const gone = lease('gone', 1, { snapshotExists: false });
  const named = lease('named', 1, { isNamed: true });
  const { deadLeases, dropped } = planAdoption(SUBJECT, record({ current: heldLayer(A) }), [], [gone, named]);
  t.strictSame(deadLeases, ['lease-gone', 'lease-named']);
  t.strictSame(dropped, []);
});

t.test('a record is believed; an unknown kept layer with data finds a place beside it, once', async (t) => {
  const known = record({ current: heldLayer(A) });
  const first = planAdoption(SUBJECT, known, [seen(containerId('ignored'), 9)], [lease('x', 1), lease('y', 2)]);
  t.match(first.layers, { current: { holder: { id: A } }, superseded: { layer: { holder: { lease: 'lease-y' } } } });
  t.match(first.dropped, [{ lease: 'lease-x' }]);
  t.equal(planAdoption(SUBJECT, known, [], []).layers, undefined, 'unchanged');
});
