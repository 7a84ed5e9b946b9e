// Keys in order, against the plain way of finding what is below a folder.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { SortedKeys } from '../../../agent/network/sorted-keys.ts';
import { holds } from '../../support/properties.ts';

t.test('finds what walking all keys would find', (t) => {
  const part = fc.stringMatching(/^[-0a~%]{1,2}$/);
  const key = fc.tuple(part, part, fc.option(part, { nil: undefined })).map((parts) => parts.filter(Boolean).join('/'));
  const steps = fc.array(fc.record({ key, isRemoval: fc.boolean() }), { maxLength: 60 });
  const limit = fc.integer({ min: 1, max: 10 });
  const after = fc.option(key, { nil: undefined });
  const property = fc.property(fc.array(key), steps, part, limit, after, (first, changes, folder, most, behind) => {
    const plain = new Set(first);
    const sorted = new SortedKeys(first);
    for (const change of changes) {
      if (change.isRemoval) {
        plain.delete(change.key);
        sorted.remove(change.key);
      } else {
        plain.add(change.key);
        sorted.add(change.key);
      }
    }
    const expected = [...plain]
      .filter((each) => each.startsWith(`${folder}/`) && (behind === undefined || each > behind))
      .toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
      .slice(0, most);
    assert.deepEqual(sorted.below(folder, most, behind), expected);
  });
  holds(t, 'the same keys', property, 1000);
  t.end();
});
