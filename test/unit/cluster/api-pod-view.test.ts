// When a pod of the API server may be called deleted, and when nobody knows.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { ApiPod } from '../../../agent/cluster/api-pod.ts';
import { ApiPodView } from '../../../agent/cluster/api-pod-view.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { PodFacts } from '../../../agent/model/pod.ts';
import { holds } from '../../support/properties.ts';

function apiPod(name: string, uid: string, version: number | string, more: Partial<ApiPod> = {}): ApiPod {
  const none = new Map<string, string>();
  const facts: PodFacts = {
    uid: podUid(uid),
    namespace: 'ns',
    name,
    labels: none,
    annotations: none,
    containers: [],
    deleting: false,
    finished: false,
  };
  const fields = { uid: podUid(uid), namespace: 'ns', name, resourceVersion: String(version) };
  return { ...fields, deleting: false, finished: false, facts, ...more };
}

const named = (name: string, uid: string) => ({ uid: podUid(uid), namespace: 'ns', name });
const complete = true;

t.test('a pod that is missing from a newer list is deleted; one that was never seen is unknown', async (t) => {
  const view = new ApiPodView();
  t.equal(view.list({ pods: [apiPod('a', '1', 5)], resourceVersion: '10', complete }), true);
  t.equal(view.list({ pods: [apiPod('a', '1', 5)], resourceVersion: '11', complete }), false, 'nothing new');
  t.equal(view.list({ pods: [], resourceVersion: '12', complete }), true);
  t.equal(view.phaseOf(named('a', '1')), 'deleted');
  t.equal(view.phaseOf(named('b', '2')), 'unknown');
});

t.test('a list proves nothing when it is older, incomplete, or of versions that cannot be compared', async (t) => {
  const afterListing = (resourceVersion: string, whole: boolean) => {
    const view = new ApiPodView();
    view.list({ pods: [apiPod('a', '1', 5)], resourceVersion: '10', complete });
    view.list({ pods: [], resourceVersion, complete: whole });
    return view;
  };
  t.equal(afterListing('9', true).phaseOf(named('a', '1')), 'unknown');
  t.equal(afterListing('ten', true).phaseOf(named('a', '1')), 'unknown');
  const incomplete = afterListing('11', false);
  t.equal(incomplete.phaseOf(named('a', '1')), 'present', 'it may be the pod that could not be read');
  t.match(incomplete.problem(), /cannot be read/);
});

t.test('a list proves nothing about a pod that was seen later than it', async (t) => {
  const view = new ApiPodView();
  view.list({ pods: [], resourceVersion: '800', complete });
  view.apply({ type: 'ADDED', pod: apiPod('n', 'n', 900) });
  view.list({ pods: [], resourceVersion: '500', complete: false });
  view.list({ pods: [], resourceVersion: '600', complete });
  t.equal(view.phaseOf(named('n', 'n')), 'unknown');
  view.apply({ type: 'ADDED', pod: apiPod('n', 'n', 900) });
  view.list({ pods: [], resourceVersion: '500', complete: false });
  view.list({ pods: [apiPod('n', 'm', 550)], resourceVersion: '600', complete: false });
  t.equal(view.phaseOf(named('n', 'n')), 'unknown', 'its name was given away');
});

t.test('two pods of one name in a list do not end each other', async (t) => {
  const view = new ApiPodView();
  view.list({ pods: [apiPod('a', '1', 5)], resourceVersion: '10', complete });
  view.list({ pods: [apiPod('a', '2', 6), apiPod('a', '1', 5)], resourceVersion: '11', complete });
  t.equal(view.phaseOf(named('a', '1')), 'present');
  t.equal(view.phaseOf(named('a', '2')), 'present');
});

t.test('a list of another cluster proves nothing, whatever its version', async (t) => {
  for (const whole of [true, false]) {
    const view = new ApiPodView();
    view.list({ pods: [apiPod('a', '1', 5), apiPod('b', '2', 5)], resourceVersion: '10', complete, origin: 'here' });
    view.list({ pods: [apiPod('a', '3', 5)], resourceVersion: '5000', complete: whole, origin: 'there' });
    view.apply({ type: 'ADDED', pod: apiPod('b', '4', 5001) });
    t.equal(view.phaseOf(named('a', '1')), 'unknown');
    t.equal(view.phaseOf(named('b', '2')), 'unknown');
    view.list({ pods: [], resourceVersion: '5002', complete, origin: 'there' });
    t.equal(view.phaseOf(named('a', '3')), 'deleted', 'its own lists do');
  }
});

t.test('a pod that comes under another name leaves its old one', async (t) => {
  const view = new ApiPodView();
  view.list({ pods: [apiPod('a', '1', 5)], resourceVersion: '10', complete });
  view.apply({ type: 'MODIFIED', pod: apiPod('b', '1', 11) });
  view.apply({ type: 'ADDED', pod: apiPod('a', '2', 12) });
  t.equal(view.phaseOf(named('b', '1')), 'present');
  view.apply({ type: 'ADDED', pod: apiPod('b', '3', 13) });
  t.equal(view.phaseOf(named('b', '1')), 'deleted');
});

t.test('versions are compared as numbers, whatever their length', async (t) => {
  const view = new ApiPodView();
  view.list({ pods: [apiPod('a', '1', 5)], resourceVersion: '9', complete });
  view.list({ pods: [], resourceVersion: '10', complete });
  t.equal(view.phaseOf(named('a', '1')), 'deleted');
  view.advance('9');
  t.equal(view.resourceVersion, '10');
});

t.test('a pod that takes over a name ends the former one; a late event does not', async (t) => {
  const view = new ApiPodView();
  view.list({ pods: [apiPod('a', 'old', 5)], resourceVersion: '10', complete });
  view.apply({ type: 'ADDED', pod: apiPod('a', 'new', 12) });
  t.equal(view.phaseOf(named('a', 'old')), 'deleted');
  t.equal(view.phaseOf(named('a', 'new')), 'present');
  t.equal(view.apply({ type: 'MODIFIED', pod: apiPod('a', 'old', 11) }), false);
  t.equal(view.phaseOf(named('a', 'new')), 'present');
  view.apply({ type: 'ADDED', pod: apiPod('a', 'odd', 'x') });
  t.equal(view.phaseOf(named('a', 'new')), 'unknown', 'which of the two is new?');
});

t.test('a late event neither brings a deleted pod back nor ends its deletion', async (t) => {
  const view = new ApiPodView();
  view.apply({ type: 'MODIFIED', pod: apiPod('a', '1', 12, { deleting: true }) });
  t.equal(view.apply({ type: 'MODIFIED', pod: apiPod('a', '1', 11) }), false);
  t.equal(view.phaseOf(named('a', '1')), 'deleting');
  view.apply({ type: 'DELETED', pod: apiPod('a', '1', 13) });
  t.equal(view.apply({ type: 'MODIFIED', pod: apiPod('a', '1', 12) }), false);
  t.equal(view.phaseOf(named('a', '1')), 'deleted');
});

t.test('a static pod is known by the name and annotation of its mirror, and never deleted', async (t) => {
  const view = new ApiPodView();
  const mirrors = podUid('hash');
  view.list({
    pods: [apiPod('s', 'm', 5, { mirrors, finished: true, deleting: true })],
    resourceVersion: '5',
    complete,
  });
  t.equal(view.phaseOf(named('s', 'hash')), 'present');
  t.equal(view.find(named('s', 'hash'))?.uid, 'hash');
  t.equal(view.phaseOf(named('other', 'hash')), 'unknown');
  view.list({ pods: [], resourceVersion: '6', complete });
  t.equal(view.phaseOf(named('s', 'hash')), 'unknown');
  t.equal(view.phaseOf(named('s', 'm')), 'unknown');
});

t.test('a pod whose containers cannot be read is there all the same', async (t) => {
  const view = new ApiPodView();
  const fields = {
    uid: podUid('1'),
    namespace: 'ns',
    name: 'a',
    resourceVersion: '5',
    deleting: false,
    finished: false,
  };
  view.list({ pods: [{ ...fields, problem: 'pod ns/a: no quantity' }], resourceVersion: '5', complete });
  t.equal(view.phaseOf(named('a', '1')), 'present');
  t.equal(view.find(named('a', '1')), undefined);
  t.equal(view.problem(), 'pod ns/a: no quantity');
});

t.test('it does not grow over its limits, and says so', async (t) => {
  const few = new ApiPodView({ pods: 2, characters: 100_000 });
  const pods = ['a', 'b', 'c'].map((name) => apiPod(name, name, 5));
  few.list({ pods, resourceVersion: '5', complete });
  t.equal(few.size, 2);
  t.match(few.problem(), /over 2 pods/);
  t.equal(few.phaseOf(named('c', 'c')), 'unknown');
  few.list({ pods: pods.slice(0, 2), resourceVersion: '6', complete });
  t.equal(few.problem(), undefined);
  t.equal(few.apply({ type: 'ADDED', pod: apiPod('c', 'c', 7) }), true);
  t.match(few.problem(), /over 2 pods/);

  const small = new ApiPodView({ pods: 100, characters: 300 });
  small.list({ pods, resourceVersion: '5', complete });
  t.equal(small.phaseOf(named('c', 'c')), 'present', 'its name is known');
  t.ok(small.find(named('a', 'a')));
  t.equal(small.find(named('c', 'c')), undefined);
  t.match(small.problem(), /memory/);
  small.apply({ type: 'DELETED', pod: apiPod('a', 'a', 6) });
  small.apply({ type: 'DELETED', pod: apiPod('b', 'b', 7) });
  t.equal(small.apply({ type: 'MODIFIED', pod: apiPod('c', 'c', 8) }), true);
  t.ok(small.find(named('c', 'c')), 'there is room again');
});

t.test('what deleted pods were called is remembered up to a limit', async (t) => {
  const view = new ApiPodView();
  for (let index = 0; index <= 10_000; index += 1) view.apply({ type: 'DELETED', pod: apiPod('a', `${index}`, index) });
  t.equal(view.phaseOf(named('a', '0')), 'unknown');
  t.equal(view.phaseOf(named('a', '1')), 'deleted');
});

/** A server with a history, and what its client may be told of it, in whatever order. */
type Step =
  | { readonly do: 'create' | 'touch' | 'delete'; readonly name: string }
  /** Its memory may lag by so many versions, but never behind what the client has seen. */
  | { readonly do: 'list'; readonly lag: number }
  | { readonly do: 'list-anything'; readonly lag: number }
  /** One of its pods could not be read. */
  | { readonly do: 'list-incomplete'; readonly lag: number }
  /** One of the events that were not told yet. */
  | { readonly do: 'tell'; readonly which: number }
  | { readonly do: 'restore'; readonly back: number };

const name = fc.constantFrom('a', 'b', 'c');
const lag = fc.nat(6);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('create', 'touch', 'delete'), name }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('tell' as const), which: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('list' as const), lag }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('list-anything' as const), lag }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('list-incomplete' as const), lag }) },
);
/** Short ones hardly get anywhere, and fast-check prefers them. */
const LONG = { maxLength: 60, size: 'max' } as const;
const restoring = fc.record({ do: fc.constant('restore' as const), back: fc.nat(6) });

interface Told {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly pod: ApiPod;
}

class Model {
  readonly view = new ApiPodView();
  /** The pods at each version, by UID. */
  states: ReadonlyMap<string, ApiPod>[] = [new Map()];
  untold: Told[] = [];
  #uids = 0;

  get pods(): ReadonlyMap<string, ApiPod> {
    return this.states.at(-1) ?? new Map();
  }

  run(step: Step): void {
    if (step.do === 'list' || step.do === 'list-anything') this.#list(step.lag, step.do === 'list');
    else if (step.do === 'list-incomplete') this.#list(step.lag, false, false);
    else if (step.do === 'tell') for (const told of this.untold.splice(step.which, 1)) this.view.apply(told);
    else if (step.do === 'restore') {
      this.states = this.states.slice(0, Math.max(1, this.states.length - step.back));
      // The client finds out by a list; events of the lost history do not come any more.
      this.untold = [];
      this.#list(0, false);
    } else this.#change(step.do, step.name);
  }

  #change(what: 'create' | 'touch' | 'delete', name: string): void {
    const present = [...this.pods.values()].find((pod) => pod.name === name);
    if ((present === undefined) !== (what === 'create')) return;
    if (present === undefined) this.#uids += 1;
    const version = this.states.length;
    const pod = apiPod(name, present?.uid ?? `uid-${this.#uids}`, version);
    const next = new Map(this.pods);
    if (what === 'delete') next.delete(pod.uid);
    else next.set(pod.uid, pod);
    this.states.push(next);
    this.untold.push({ type: what === 'create' ? 'ADDED' : what === 'delete' ? 'DELETED' : 'MODIFIED', pod });
  }

  #list(lag: number, notOlder: boolean, complete = true): void {
    const newest = this.states.length - 1;
    const seen = notOlder ? Math.min(newest, Number(this.view.resourceVersion ?? 0)) : 0;
    const version = Math.max(seen, newest - lag, 0);
    const pods = [...(this.states[version] ?? new Map<string, ApiPod>()).values()];
    this.view.list({ pods: pods.slice(complete ? 0 : 1), resourceVersion: String(version), complete });
  }
}

t.test('whatever is told in whatever order: what the server has is never called deleted', async (t) => {
  holds(
    t,
    'events and lists',
    fc.property(fc.array(step, LONG), (steps) => {
      const model = new Model();
      for (const each of steps) {
        model.run(each);
        for (const { uid, name } of model.pods.values()) {
          assert.notEqual(
            model.view.phaseOf(named(name, uid)),
            'deleted',
            `${name} ${uid} after ${JSON.stringify(each)}`,
          );
        }
      }
    }),
    3000,
  );
  holds(
    t,
    'events, lists and restored backups',
    fc.property(
      fc.array(fc.oneof({ weight: 12, arbitrary: step }, { weight: 1, arbitrary: restoring }), LONG),
      (steps) => {
        const model = new Model();
        for (const each of steps) {
          model.run(each);
          for (const { uid, name } of model.pods.values()) {
            assert.notEqual(
              model.view.phaseOf(named(name, uid)),
              'deleted',
              `${name} ${uid} after ${JSON.stringify(each)}`,
            );
          }
        }
      },
    ),
    3000,
  );
});

t.test('after a list of the newest state exactly the pods of the server are there', async (t) => {
  holds(
    t,
    'the view comes to rest',
    fc.property(fc.array(step, LONG), (steps) => {
      const model = new Model();
      const seen = new Map<string, string>();
      for (const each of steps) {
        model.run(each);
        for (const { uid, name } of model.states.flatMap((state) => [...state.values()])) {
          if (model.view.phaseOf(named(name, uid)) === 'present') seen.set(uid, name);
        }
      }
      model.run({ do: 'list', lag: 0 });
      assert.equal(model.view.size, model.pods.size);
      for (const [uid, name] of seen) {
        const phase = model.view.phaseOf(named(name, uid));
        if (model.pods.has(uid)) assert.equal(phase, 'present');
        else assert.notEqual(phase, 'present');
      }
    }),
    3000,
  );
});
