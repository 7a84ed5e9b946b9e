import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { bytes } from '../../../agent/model/quantity.ts';
import type { ContainerLayers } from '../../../agent/reuse/layer.ts';
import { planBudget } from '../../../agent/reuse/plan-budget.ts';
import { holds } from '../../support/properties.ts';
import { A, heldLayer, keptLayer, record } from './records.ts';

function keptRecord(key: string, since: number, size: number): [string, ContainerLayers] {
  const layer = keptLayer(key, {
    holder: { kind: 'kept', lease: `lease-${key}`, since },
    measured: { size: bytes(size), at: 1 },
  });
  return [key, record({ current: layer })];
}

const givenUp = (records: Map<string, ContainerLayers>, budgetBytes: number, maxAgeMs = 1e9, startedAt = 0): string[] =>
  planBudget(records, { budgetBytes, maxAgeMs }, 100, startedAt).map(({ key, why }) => `${key} ${why}`);

t.test('the oldest go first, until the rest fits', async (t) => {
  const records = new Map([keptRecord('new', 30, 10), keptRecord('old', 10, 10), keptRecord('middle', 20, 10)]);
  t.strictSame(givenUp(records, 30), []);
  t.strictSame(givenUp(records, 29), ['old budget']);
  t.strictSame(givenUp(records, 0), ['old budget', 'middle budget', 'new budget']);
});

t.test('too old goes whatever the budget', async (t) => {
  const records = new Map([keptRecord('old', 10, 0), keptRecord('new', 50, 10)]);
  t.strictSame(givenUp(records, 100, 60), ['old age']);
});

t.test('the time before the agent started does not count', async (t) => {
  const records = new Map([keptRecord('old', 10, 0)]);
  t.strictSame(givenUp(records, 100, 60, 40), []);
  t.strictSame(givenUp(records, 100, 60, 39), ['old age']);
});

t.test('an empty layer frees nothing, and what a container holds is not kept', async (t) => {
  const held = record({ current: heldLayer(A, { measured: { size: bytes(1000), at: 1 } }) });
  const records = new Map([keptRecord('empty', 1, 0), keptRecord('full', 2, 10), ['held', held] as const]);
  t.strictSame(givenUp(records, 5), ['full budget']);
});

t.test('properties', async (t) => {
  const kept = fc.record({ since: fc.integer({ min: 0, max: 100 }), size: fc.integer({ min: 0, max: 50 }) });
  holds(
    t,
    'what is left fits, and nothing is given up without need',
    fc.property(fc.array(kept, { maxLength: 12 }), fc.integer({ min: 0, max: 300 }), (layers, budgetBytes) => {
      const records = new Map(layers.map(({ since, size }, index) => keptRecord(`${index}`, since, size)));
      const given = planBudget(records, { budgetBytes, maxAgeMs: 1e9 }, 100, 0);
      const sizeOf = (key: string): number => layers[Number(key)]?.size ?? 0;
      const gone = new Set(given.map(({ key }) => key));
      const left = [...records.keys()].filter((key) => !gone.has(key)).reduce((sum, key) => sum + sizeOf(key), 0);
      assert.ok(left <= budgetBytes);
      const last = given.at(-1);
      if (last !== undefined) assert.ok(left + sizeOf(last.key) > budgetBytes);
    }),
    500,
  );
});
