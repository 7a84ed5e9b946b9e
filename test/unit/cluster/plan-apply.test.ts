// When the object is applied next, and when by force.
import t from 'tap';
import {
  APPLY_TIMES,
  type ApplyEnd,
  type ApplyState,
  describeApply,
  FIRST_APPLY,
  type NextApply,
  planApply,
} from '../../../agent/cluster/plan-apply.ts';

const APPLIED: ApplyEnd = { kind: 'applied' };
const CONFLICT: ApplyEnd = { kind: 'conflict', managers: ['nfd'] };
const FAILED: ApplyEnd = { kind: 'failed', problem: 'no' };

const next = (state: ApplyState, end: ApplyEnd, now = 0): NextApply =>
  planApply(state, end, { now, random: 1 }, APPLY_TIMES);

t.test('after a good one: a moment for further changes, then the next change, or a look after a minute', async (t) => {
  t.strictSame(next(FIRST_APPLY, APPLIED), { state: FIRST_APPLY, pauseMs: 1000, waitMs: 60_000 });
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
  t.strictSame(next(state, APPLIED).state, FIRST_APPLY, 'and is over with the first good one');
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
