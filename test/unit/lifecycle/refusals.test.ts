// Since when pods have been refused, in whose time, and what is no longer counted.
import fc from 'fast-check';
import t from 'tap';
import { Refusals } from '../../../agent/lifecycle/refusals.ts';
import { podUid } from '../../../agent/model/ids.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const pod = (name: string) => ({ uid: podUid(`uid-${name}`), namespace: 'default', name });

function build() {
  const clock = { now: 0 };
  return { clock, refusals: new Refusals(() => clock.now) };
}

t.test('a pod that was placed in between waits anew', async (t) => {
  const { clock, refusals } = build();
  refusals.refused(pod('web'), 'no room');
  refusals.forget(pod('web').uid);
  clock.now = 9 * MINUTE;
  refusals.refused(pod('web'), 'no room');
  t.match(refusals.list(), [{ since: 9 * MINUTE, until: 9 * MINUTE }]);
});

t.test('a pod with several refused sandboxes waits since the first of them', async (t) => {
  const { clock, refusals } = build();
  for (clock.now = 0; clock.now <= 2 * MINUTE; clock.now += MINUTE) refusals.refused(pod('web'), `at ${clock.now}`);
  t.match(refusals.list(), [{ since: 0, until: 2 * MINUTE, reason: `at ${2 * MINUTE}` }]);
});

t.test('a clock that is set makes no pod wait longer than it did', async (t) => {
  const refusals = new Refusals();
  const wallClock = Date.now;
  t.teardown(() => {
    Date.now = wallClock;
  });
  refusals.refused(pod('web'), 'no room');
  Date.now = () => wallClock() + HOUR;
  refusals.refused(pod('web'), 'no room');
  const [refusal] = refusals.list();
  t.ok(refusal !== undefined && refusal.until - refusal.since < HOUR);
});

t.test('a pod that was ended is not counted while not everybody knows', async (t) => {
  const { clock, refusals } = build();
  refusals.refused(pod('web'), 'no room');
  refusals.ended(pod('web').uid);
  clock.now = MINUTE - 1;
  refusals.refused(pod('web'), 'no room');
  t.same(refusals.list(), []);
  refusals.refused(pod('other'), 'no room');
  t.match(refusals.list(), [{ name: 'other' }]);
});

t.test('a pod that is still asked for long after it was ended waits anew', async (t) => {
  const { clock, refusals } = build();
  refusals.refused(pod('web'), 'no room');
  refusals.ended(pod('web').uid);
  clock.now = MINUTE;
  refusals.refused(pod('web'), 'no room');
  t.match(refusals.list(), [{ name: 'web', since: MINUTE, until: MINUTE }]);
});

t.test('whatever is asked for, the refusals are bounded and the latest are kept', async (t) => {
  const names = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 4000, size: 'max' });
  fc.assert(
    fc.property(names, (asked) => {
      const { refusals } = build();
      for (const name of asked) refusals.refused(pod(String(name)), 'no room');
      const list = refusals.list();
      const distinct = [...new Set(asked.toReversed())].slice(0, 1000).toReversed();
      t.same(
        list.map(({ name }) => name),
        distinct.map(String),
      );
    }),
    { numRuns: 20 },
  );
});
