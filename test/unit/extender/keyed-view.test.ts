// Whatever order lists and events of the API server come in, listeners hear of each object's states once and in order.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { KeyedView } from '../../../extender/discovery/keyed-view.ts';
import { holds } from '../../support/properties.ts';

interface Item {
  readonly key: string;
  readonly resourceVersion: string;
}

const ORIGIN = 'https://cluster';
const item = (key: string, version: number): Item => ({ key, resourceVersion: `${version}` });
const list = (version: number, items: readonly Item[], { complete = true, origin = ORIGIN } = {}) => ({
  items,
  resourceVersion: `${version}`,
  complete,
  origin,
});

function listening() {
  const heard: string[] = [];
  const view = new KeyedView<Item>({
    onItem: ({ key, resourceVersion }) => heard.push(`${key}@${resourceVersion}`),
    onGone: (key) => heard.push(`${key} gone`),
  });
  return { heard, view };
}

t.test('each object that comes, changes or goes is told once', async (t) => {
  const { heard, view } = listening();
  t.ok(view.list(list(10, [item('a', 3), item('b', 7)])));
  t.notOk(view.list(list(11, [item('a', 3), item('b', 7)])), 'the same list again');
  t.ok(view.apply({ type: 'MODIFIED', item: item('a', 12) }));
  t.notOk(view.apply({ type: 'MODIFIED', item: item('a', 12) }), 'the same event again');
  t.ok(view.apply({ type: 'DELETED', item: item('b', 13) }));
  t.notOk(view.apply({ type: 'DELETED', item: item('b', 13) }), 'it is gone already');
  t.same(heard, ['a@3', 'b@7', 'a@12', 'b gone']);
  t.same([view.size, view.resourceVersion], [1, '13']);
});

t.test('what a new list lacks is gone, unless the list is not complete', async (t) => {
  const { heard, view } = listening();
  view.list(list(10, [item('a', 3), item('b', 7)]));
  view.list(list(11, [item('a', 3)], { complete: false }));
  t.same(heard, ['a@3', 'b@7']);
  view.list(list(12, [item('a', 3)]));
  t.same(heard, ['a@3', 'b@7', 'b gone']);
});

t.test('of another cluster nothing is known, even when its list is not complete', async (t) => {
  const { heard, view } = listening();
  view.list(list(10, [item('a', 3)]));
  view.list(list(2, [item('c', 1)], { complete: false, origin: 'https://other' }));
  t.same(heard, ['a@3', 'a gone', 'c@1']);
  t.equal(view.resourceVersion, '2', 'and its versions are counted anew');
});

t.test('an older state of an object is not told after a newer one', async (t) => {
  const { heard, view } = listening();
  view.list(list(10, [item('a', 9)]));
  t.notOk(view.list(list(11, [item('a', 4)])), 'an API server that lags behind');
  t.notOk(view.apply({ type: 'MODIFIED', item: item('a', 8) }));
  t.same(heard, ['a@9']);
  t.equal(view.resourceVersion, '11', 'nor does the version go back');
});

t.test('after any events the listener knows what the last list and the events after it say', async (t) => {
  const keys = fc.constantFrom('a', 'b', 'c', 'd');
  const change = fc.record({ type: fc.constantFrom('put' as const, 'delete' as const, 'list' as const), key: keys });
  const property = fc.property(fc.array(change, { maxLength: 40, size: 'max' }), (changes) => {
    const known = new Map<string, string>();
    const view = new KeyedView<Item>({
      onItem: ({ key, resourceVersion }) => known.set(key, resourceVersion),
      onGone: (key) => known.delete(key),
    });
    const cluster = new Map<string, string>();
    const listed = (): readonly Item[] => [...cluster].map(([key, resourceVersion]) => ({ key, resourceVersion }));
    view.list(list(1, []));
    for (const [index, { type, key }] of changes.entries()) {
      const next = item(key, index + 2);
      if (type === 'put') cluster.set(key, next.resourceVersion);
      else cluster.delete(key);
      // The events before a list may be lost: the list alone tells.
      if (type === 'list') view.list(list(index + 2, listed()));
      else view.apply({ type: type === 'put' ? 'MODIFIED' : 'DELETED', item: next });
    }
    assert.deepEqual(known, cluster);
  });
  holds(t, 'the listener and the cluster agree', property, 500);
});
