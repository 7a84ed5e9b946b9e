import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { containerId } from '../../../agent/model/ids.ts';
import { bytes } from '../../../agent/model/quantity.ts';
import type { ContainerLayers, Kept } from '../../../agent/reuse/layer.ts';
import { REBUILD_REASONS } from '../../../agent/reuse/layer.ts';
import * as plan from '../../../agent/reuse/plan-layers.ts';
import { holds } from '../../support/properties.ts';
import { A, B, C, heldLayer, keptLayer, newContainer, record, SUBJECT } from './records.ts';

t.test('a first container, and a second that takes its layer over', async (t) => {
  const first = plan.began(plan.emptyRecord(SUBJECT), newContainer(A), 7);
  t.match(first.current, { holder: { id: A }, createdAt: 7, handovers: 0 });
  const second = plan.handedOver(first, newContainer(B, 'the same layers, another name'));
  t.match(second.current, {
    snapshot: { key: B },
    holder: { id: B },
    cameFrom: A,
    createdAt: 7,
    handovers: 1,
    image: 'the same layers, another name',
  });
  const back = plan.movedBack(second, A, { snapshotter: 'overlayfs', key: A });
  t.match(back.current, { snapshot: { key: A }, holder: { id: A }, createdAt: 7, handovers: 0 });
  t.notHas(back.current, { cameFrom: A });
});

t.test('an upgrade waits for the start, then the old layer is dropped', async (t) => {
  const before = record({ current: keptLayer('a'), fastFailures: 2, resetRequested: true });
  const { layers, dropped } = plan.rebuilt(before, newContainer(B), 'image', true, 9);
  t.strictSame(dropped, []);
  t.match(layers, {
    current: { holder: { id: B }, createdAt: 9 },
    superseded: { reason: 'image', replacedBy: B, stage: 'waiting', layer: { snapshot: { key: 'a' } } },
    fastFailures: 0,
    resetRequested: false,
  });
  t.equal(plan.sourceOf(layers)?.snapshot.key, 'a', 'until then it is the one to go back to');
  t.equal(plan.started(layers, C).layers, layers, 'another container starts');
  const after = plan.started(layers, B);
  t.match(after.dropped, [{ snapshot: { key: 'a' }, lease: 'lease-a' }]);
  t.equal(after.layers.superseded, undefined);
  t.equal(plan.sourceOf(after.layers)?.snapshot.key, B);
});

t.test('an upgrade that comes to nothing is undone', async (t) => {
  const before = record({ current: heldLayer(A), resetRequested: true });
  const { layers } = plan.rebuilt(before, newContainer(B), 'reset', true, 9);
  t.strictSame(plan.reverted(layers, B), before);
  t.equal(plan.reverted(layers, C), layers);
});

t.test('what the host could not move is stranded, and gives way to the next', async (t) => {
  const first = plan.rebuilt(record({ current: heldLayer(A) }), newContainer(B), 'other-filesystem', true, 1);
  const started = plan.started(first.layers, B);
  t.match(started, { layers: { superseded: { stage: 'stranded' } }, dropped: [] });
  const keptA: Kept = { snapshot: heldLayer(A).snapshot, lease: 'lease-a' };
  const kept = plan.kept(started.layers, keptA, 5);
  t.match(kept.superseded?.layer.holder, { kind: 'kept', since: 5 });
  const second = plan.rebuilt(kept, newContainer(C), 'other-filesystem', true, 2);
  t.strictSame(second.dropped, [keptA]);
  t.equal(second.layers.superseded?.layer.snapshot.key, B);
  t.equal(plan.handedOver(kept, newContainer(C)).superseded?.layer.snapshot.key, A, 'a hand-over leaves it alone');
});

t.test('without the policy nothing of the new container is recorded', async (t) => {
  const { layers } = plan.rebuilt(record({ current: heldLayer(A) }), newContainer(B), 'policy', false, 1);
  t.equal(layers.current, undefined);
  t.ok(plan.isEmptyRecord(plan.started(layers, B).layers));
});

t.test('keeping, measuring and losing one layer leaves the other alone', async (t) => {
  const both = plan.rebuilt(record({ current: heldLayer(A) }), newContainer(B), 'image', true, 1).layers;
  const size = plan.measured(both, heldLayer(A).snapshot, bytes(5), 3);
  t.match(size.superseded?.layer.measured, { size: 5, at: 3 });
  t.equal(size.current?.measured, undefined);
  t.equal(plan.without(both, heldLayer(A).snapshot).superseded, undefined);
  t.equal(plan.without(both, heldLayer(B).snapshot).current, undefined);
  t.strictSame(plan.forgotten(both, C), both);
});

t.test('properties', async (t) => {
  const ids = fc.integer({ min: 0, max: 4 }).map((index) => containerId(`container-${index}`));
  const steps = fc.array(
    fc.record({
      what: fc.constantFrom('began', 'handedOver', 'rebuilt', 'started', 'reverted', 'kept', 'forgotten', 'movedBack'),
      id: ids,
      reason: fc.constantFrom(...REBUILD_REASONS),
      wantsReuse: fc.boolean(),
    }),
    { maxLength: 20 },
  );
  holds(
    t,
    'no sequence of steps puts one snapshot into two layers, or drops one that is still named',
    fc.property(steps, (sequence) => {
      let layers: ContainerLayers = plan.emptyRecord(SUBJECT);
      for (const { what, id, reason, wantsReuse } of sequence) {
        let dropped: readonly Kept[] = [];
        const container = newContainer(id);
        // A container that holds a layer is never the new one.
        const isKnown = plan.layersOf(layers).some(({ snapshot }) => snapshot.key === id);
        if (what === 'began' && !isKnown && plan.sourceOf(layers) === undefined)
          layers = plan.began(layers, container, 1);
        if (what === 'handedOver' && !isKnown) layers = plan.handedOver(layers, container);
        if (what === 'rebuilt' && !isKnown)
          ({ layers, dropped } = plan.rebuilt(layers, container, reason, wantsReuse, 1));
        if (what === 'started') ({ layers, dropped } = plan.started(layers, id));
        if (what === 'reverted') layers = plan.reverted(layers, id);
        if (what === 'forgotten') layers = plan.forgotten(layers, id);
        if (what === 'kept')
          layers = plan.kept(layers, { snapshot: container.fresh.snapshot, lease: `lease-${id}` }, 1);
        if (what === 'movedBack' && !isKnown) layers = plan.movedBack(layers, id, container.fresh.snapshot);
        const keys = plan.layersOf(layers).map(({ snapshot }) => snapshot.key);
        assert.equal(new Set(keys).size, keys.length);
        for (const { snapshot } of dropped) assert.ok(!keys.includes(snapshot.key));
      }
    }),
    1000,
  );
});
