// When a pod may be called deleted, and when nobody knows.
import fc from 'fast-check';
import t from 'tap';
import { FilePodView, type PodMatch } from '../../../agent/cluster/file-pod-view.ts';
import type { PodName } from '../../../agent/cluster/pod-source.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { PodFacts } from '../../../agent/model/pod.ts';

const BY_UID: PodMatch = { keyOf: ({ uid }) => uid, keysFor: ({ uid }) => [uid] };
const SETTLE = 1000;

function facts(uid: string, more: Partial<PodFacts> = {}): PodFacts {
  const none = new Map<string, string>();
  return {
    uid: podUid(uid),
    namespace: 'default',
    name: `pod-${uid}`,
    labels: none,
    annotations: none,
    containers: [],
    deleting: false,
    finished: false,
    ...more,
  };
}
const named = (uid: string): PodName => ({ uid: podUid(uid), namespace: 'default', name: `pod-${uid}` });

function viewWithClock() {
  const clock = { now: 0 };
  return { clock, view: new FilePodView(BY_UID, SETTLE, () => clock.now) };
}

t.test('a pod that left is deleted only after a while', async (t) => {
  const { clock, view } = viewWithClock();
  t.equal(view.phaseOf(named('a')), 'unknown', 'nothing was read yet');
  t.equal(view.update({ pods: [facts('a')], complete: false }), true);
  t.equal(view.phaseOf(named('a')), 'present');
  t.equal(view.update({ pods: [], complete: false }), true);
  t.equal(view.phaseOf(named('a')), 'unknown');
  t.equal(view.settlesIn(), SETTLE);
  clock.now += SETTLE;
  t.equal(view.phaseOf(named('a')), 'deleted');
  t.equal(view.settlesIn(), undefined);
  view.update({ pods: [facts('a')], complete: false });
  t.equal(view.phaseOf(named('a')), 'present', 'and it may come back');
});

t.test('a pod that was never seen is not deleted, unless the file names all pods', async (t) => {
  const { clock, view } = viewWithClock();
  view.update({ pods: [], complete: false });
  clock.now += 10 * SETTLE;
  t.equal(view.phaseOf(named('a')), 'unknown');
  view.update({ pods: [], complete: true });
  t.equal(view.phaseOf(named('a')), 'unknown');
  clock.now += SETTLE;
  t.equal(view.phaseOf(named('a')), 'deleted');
});

t.test('a problem keeps what was known and deletes nothing', async (t) => {
  const { clock, view } = viewWithClock();
  view.update({ pods: [facts('a'), facts('b')], complete: true });
  t.equal(view.update({ pods: [facts('a', { deleting: true })], complete: false, problem: 'bad file' }), true);
  clock.now += 10 * SETTLE;
  t.equal(view.phaseOf(named('a')), 'deleting', 'what could be read counts');
  t.equal(view.phaseOf(named('b')), 'present');
  t.equal(view.phaseOf(named('c')), 'unknown');
  t.strictSame(view.status(), { ageMs: 10 * SETTLE, problem: 'bad file' });
  view.update({ pods: [facts('a')], complete: false });
  t.equal(view.phaseOf(named('b')), 'unknown', 'the wait begins with the first good view without it');
  clock.now += SETTLE;
  t.equal(view.phaseOf(named('b')), 'deleted');
});

t.test('only real changes are changes', async (t) => {
  const { view } = viewWithClock();
  t.equal(view.update({ pods: [facts('a')], complete: false }), true);
  t.equal(view.update({ pods: [facts('a')], complete: false }), false);
  t.equal(view.update({ pods: [facts('a', { annotations: new Map([['x', 'y']]) })], complete: false }), true);
});

t.test('whatever happens: deleted means absent from every read for the whole time, without a problem', async () => {
  const step = fc.record({
    pods: fc.subarray(['a', 'b', 'c']),
    complete: fc.boolean(),
    problem: fc.option(fc.constant('p'), { nil: undefined }),
    after: fc.nat(SETTLE * 2),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const { clock, view } = viewWithClock();
      const lastThere = new Map<string, number>();
      let lastProblem: string | undefined;
      for (const { pods, complete, problem, after } of steps) {
        for (const uid of pods) lastThere.set(uid, clock.now);
        view.update({ pods: pods.map((uid) => facts(uid)), complete, ...(problem === undefined ? {} : { problem }) });
        lastProblem = problem;
        clock.now += after;
        for (const uid of ['a', 'b', 'c']) {
          if (view.phaseOf(named(uid)) !== 'deleted') continue;
          if (lastProblem !== undefined || clock.now - (lastThere.get(uid) ?? -SETTLE) < SETTLE) return false;
        }
      }
      return true;
    }),
  );
});
