import t from 'tap';
import type { ContainerId } from '../../../agent/model/ids.ts';
import type { SeenContainer } from '../../../agent/reuse/plan-adopt.ts';
import { relocate } from '../../../agent/reuse/plan-relocate.ts';
import { A, B, C, heldLayer, keptLayer, record } from './records.ts';

function seen(id: ContainerId, createdAt: number, more: Partial<SeenContainer> = {}): SeenContainer {
  const { snapshot, parent } = heldLayer(id);
  return { id, createdAt, state: 'exited', image: 'image', snapshot, parent, isEmpty: false, ...more };
}

const held = record({ current: heldLayer(A, { cameFrom: C, handovers: 3 }) });
const emptied = seen(A, 1, { isEmpty: true });

t.test('a place that was left empty: the later container has the layer', async (t) => {
  const found = relocate(held, true, [emptied, seen(B, 2)]);
  t.match(found?.current, { holder: { kind: 'container', id: B }, snapshot: { key: B }, handovers: 4, createdAt: 1 });
  t.notHas(found?.current, { cameFrom: C });
});

t.test('a place with something in it stands', async (t) => {
  t.equal(relocate(held, false, [seen(A, 1), seen(B, 2)]), undefined);
});

t.test('earlier containers, other images and what ended empty have not got it', async (t) => {
  const containers = [emptied, seen(C, 0), seen(B, 2, { parent: 'other' }), seen(B, 3, { isEmpty: true })];
  t.equal(relocate(held, true, containers), undefined);
  t.equal(relocate(record(), true, [seen(B, 2)]), undefined);
});

t.test('running before full before created, and the newest of them', async (t) => {
  const created = seen(C, 9, { state: 'created', isEmpty: true });
  t.match(relocate(held, true, [emptied, created])?.current?.holder, { id: C });
  t.match(relocate(held, true, [emptied, created, seen(B, 2)])?.current?.holder, { id: B });
  const running = seen(B, 2, { state: 'running', isEmpty: true });
  t.match(relocate(held, true, [emptied, seen(C, 9), running])?.current?.holder, { id: B });
});

t.test('a kept layer that was handed over, and a holder that is gone', async (t) => {
  const kept = record({ current: keptLayer('kept', { holder: { kind: 'kept', lease: 'lease', since: 5 } }) });
  t.equal(relocate(kept, true, [seen(B, 4)]), undefined, 'what was there before it was kept');
  t.match(relocate(kept, true, [seen(B, 6)])?.current?.holder, { kind: 'container', id: B });
  t.match(relocate(held, true, [seen(B, 6)])?.current?.holder, { kind: 'container', id: B });
});
