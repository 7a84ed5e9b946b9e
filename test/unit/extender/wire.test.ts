// What is written for the scheduler can be read by it, whatever names and reasons hold.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { filterResult, hostPriorities, readArgs } from '../../../extender/http/wire.ts';
import { holds } from '../../support/properties.ts';

t.test('an answer reads as it was meant, whatever its names and reasons hold', async (t) => {
  const failures = fc.uniqueArray(
    fc.tuple(fc.string({ unit: 'grapheme' }), fc.constantFrom('no "room"', 'a\nb', '\u2028')),
    {
      selector: ([node]) => node,
    },
  );
  const property = fc.property(fc.array(fc.string()), failures, (passed, failed) => {
    const args = readArgs(JSON.stringify({ Pod: {}, NodeNames: [] }));
    const {
      NodeNames,
      FailedNodes,
      Error: error,
    } = JSON.parse(filterResult(args, { passed, failed: new Map(failed) })) as {
      NodeNames: unknown;
      FailedNodes: Record<string, string>;
      Error: string;
    };
    assert.deepEqual(NodeNames, passed);
    assert.deepEqual(new Map(Object.entries(FailedNodes)), new Map(Object.entries(Object.fromEntries(failed))));
    assert.equal(error, '');
  });
  holds(t, 'the same', property, 200);
});

t.test('whole nodes come back in the list that they came in', async (t) => {
  const items = [{ metadata: { name: 'a' }, x: 1 }, { metadata: { name: 'b' } }];
  const args = readArgs(JSON.stringify({ pod: {}, nodes: { kind: 'NodeList', items } }));
  t.same(args.nodeNames, ['a', 'b']);
  const text = filterResult(args, { passed: ['a'], failed: new Map([['b', 'full']]) });
  t.same(JSON.parse(text), {
    Nodes: { kind: 'NodeList', items: [items[0]] },
    NodeNames: null,
    FailedNodes: { b: 'full' },
    Error: '',
  });
  t.same(JSON.parse(hostPriorities(['a', 'b'], [3])), [
    { Host: 'a', Score: 3 },
    { Host: 'b', Score: 0 },
  ]);
});
