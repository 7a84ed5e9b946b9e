// When the object is applied next, and when by force.
import t from 'tap';
import {
  APPLY_TIMES,
  type ApplyEnd,
  type ApplyState,
  describeApply,
  FIRST_APPLY,
  isLookDue,
  type NextApply,
  planApply,
} from '../../../agent/cluster/plan-apply.ts';

const APPLIED: ApplyEnd = { kind: 'applied', isLook: true };
const UNCHANGED: ApplyEnd = { kind: 'unchanged' };
const CONFLICT: ApplyEnd = { kind: 'conflict', managers: ['nfd'] };
const FAILED: ApplyEnd = { kind: 'failed', problem: 'no' };

const next = (state: ApplyState, end: ApplyEnd, now = 0): NextApply =>
  planApply(state, end, { now, random: 1 }, APPLY_TIMES);

t.test('after a good one: a moment for further changes, then the next change, or a look after a minute', async (t) => {
  const state = { ...FIRST_APPLY, lookAt: 61_000 };
  t.strictSame(next(FIRST_APPLY, APPLIED), { state, pauseMs: 1000, waitMs: 60_000 });
});

t.test('changes do not put off the look, whether the object changes with them or not', async (t) => {
  const { state } = next(FIRST_APPLY, APPLIED);
  const unchanged = next(state, UNCHANGED, 20_000);
  t.strictSame(unchanged, { state, pauseMs: 1000, waitMs: 40_000 });
  const changed = next(unchanged.state, { kind: 'applied', isLook: false }, 50_000);
  t.strictSame(changed, { state, pauseMs: 1000, waitMs: 10_000 });
  t.not(isLookDue(changed.state, 60_999), true);
  t.ok(isLookDue(changed.state, 61_000));
  t.equal(next(changed.state, UNCHANGED, 60_500).waitMs, 0, 'it is never waited for too long');
  t.equal(next(changed.state, APPLIED, 61_000).state.lookAt, 122_000);
});

t.test('after whatever was not accepted all is read anew', async (t) => {
  const { state } = next(FIRST_APPLY, APPLIED);
  t.ok(isLookDue(FIRST_APPLY, 0));
  t.ok(isLookDue(next(state, FAILED).state, 0));
  t.ok(isLookDue(next(state, CONFLICT).state, 0));
});

t.test('failures are followed by ever longer pauses, up to a minute, and one problem is kept', async (t) => {
  let state = FIRST_APPLY;
  const pauses = Array.from({ length: 8 }, () => {
    const planned = next(state, FAILED);
    state = planned.state;
    t.equal(planned.waitMs, 0);
    return planned.pauseMs / 1000;
  });
  t.strictSame(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
  t.strictSame(describeApply(state, 'n'), { level: 'warning', text: 'the object is not up to date: no' });
  t.match(describeApply(next(state, APPLIED).state, 'n'), { level: 'ok' }, 'and is over with the first good one');
  t.equal(next(state, APPLIED).state.failures, 0);
});

t.test('no two nodes ask at the same time', async (t) => {
  const half = planApply(FIRST_APPLY, FAILED, { now: 0, random: 0 }, APPLY_TIMES);
  t.equal(half.pauseMs, 500);
});

t.test('a server that asks for patience gets it, within reason', async (t) => {
  t.equal(next(FIRST_APPLY, { ...FAILED, retryAfterMs: 30_000 }).pauseMs, 30_000);
  t.equal(next(FIRST_APPLY, { ...FAILED, retryAfterMs: 86_400_000 }).pauseMs, 300_000);
});

t.test('what another writer left behind is taken over at once', async (t) => {
  const conflict = next(FIRST_APPLY, CONFLICT, 100);
  t.match(conflict, { state: { force: true, rival: { managers: ['nfd'], times: 1 } }, pauseMs: 0, waitMs: 0 });
  const taken = next(conflict.state, APPLIED, 200);
  t.equal(taken.state.force, false, 'one force is for one attempt');
  t.match(describeApply(taken.state, 'n'), { level: 'warning', text: /taken over from nfd/ });
  const quiet = next(taken.state, APPLIED, 200 + APPLY_TIMES.rivalMs - 1);
  t.match(describeApply(quiet.state, 'n'), { level: 'warning' });
  t.match(describeApply(next(taken.state, APPLIED, 200 + APPLY_TIMES.rivalMs).state, 'n'), { level: 'ok' });
});

t.test(
  'one that takes it back is alive: no more than one attempt in ten minutes, and a failure all the time',
  async (t) => {
    const first = next(next(FIRST_APPLY, CONFLICT, 0).state, APPLIED, 0);
    const back = next(first.state, CONFLICT, 60_000);
    t.match(back, { state: { force: true, rival: { times: 2 } }, pauseMs: APPLY_TIMES.rivalMs, waitMs: 0 });
    t.match(describeApply(back.state, 'n'), { level: 'failed', text: /nfd writes the object n, too/ });
    const taken = next(back.state, APPLIED, 60_000 + APPLY_TIMES.rivalMs);
    t.match(describeApply(taken.state, 'n'), { level: 'failed' }, 'it is not gone because it was overruled');
    const again = next(taken.state, CONFLICT, 120_000 + APPLY_TIMES.rivalMs);
    t.equal(again.pauseMs, APPLY_TIMES.rivalMs);
    const gone = next(taken.state, APPLIED, 60_000 + 2 * APPLY_TIMES.rivalMs);
    t.match(describeApply(gone.state, 'n'), { level: 'ok' }, 'but because it is quiet');
  },
);

t.test('a failure in between does not make a live writer of what was left behind', async (t) => {
  const conflict = next(FIRST_APPLY, CONFLICT, 0);
  const failed = next(conflict.state, FAILED, 10);
  t.match(failed.state, { force: true, rival: { times: 1 } });
});
