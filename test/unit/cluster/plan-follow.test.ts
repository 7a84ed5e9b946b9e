// What the watch on the API server does after whatever happened.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  FIRST_STEP,
  type FollowState,
  type FollowTimes,
  planFollow,
  type StepEnd,
  type StepFacts,
} from '../../../agent/cluster/plan-follow.ts';
import { holds } from '../../support/properties.ts';

const TIMES: FollowTimes = { pauseMs: 1000, longestPauseMs: 30_000, stableMs: 10_000, relistMs: 1_800_000 };
const WATCHING: FollowState = { step: 'watch', listFrom: 'cache', failures: 0 };
const LONG: StepFacts = { lastedMs: 300_000, sinceListMs: 300_000, random: 1 };
const SHORT: StepFacts = { lastedMs: 5, sinceListMs: 300_000, random: 1 };

const stepAfter = (state: FollowState, end: StepEnd, facts = LONG): FollowState =>
  planFollow(state, end, facts, TIMES).state;

t.test('after a list comes the watch, at once', async (t) => {
  t.strictSame(planFollow(FIRST_STEP, { kind: 'listed' }, SHORT, TIMES), { state: WATCHING, pauseMs: 0 });
});

t.test('a watch that ended goes on as a watch, whether the server ended it or the network', async (t) => {
  t.equal(stepAfter(WATCHING, { kind: 'watched' }).step, 'watch');
  t.equal(stepAfter(WATCHING, { kind: 'failed' }).step, 'watch');
});

t.test('a list that failed is tried again', async (t) => {
  t.equal(stepAfter(FIRST_STEP, { kind: 'failed' }).step, 'list');
});

t.test(
  'a forgotten version needs a list; of the newest state only where the memory of the server will not do',
  async (t) => {
    t.match(stepAfter(WATCHING, { kind: 'expired' }), { step: 'list', listFrom: 'cache' });
    t.match(stepAfter(WATCHING, { kind: 'behind' }), { step: 'list', listFrom: 'storage' });
    t.match(stepAfter(FIRST_STEP, { kind: 'behind' }), { step: 'list', listFrom: 'storage' });
    t.match(stepAfter(FIRST_STEP, { kind: 'too-large' }), { step: 'list', listFrom: 'storage' });
    const paged: FollowState = { ...FIRST_STEP, listFrom: 'storage' };
    t.match(stepAfter(paged, { kind: 'failed' }), { step: 'list', listFrom: 'storage' });
    t.match(stepAfter(paged, { kind: 'listed' }), { step: 'watch', listFrom: 'cache' });
  },
);

t.test('now and then everything is listed anew', async (t) => {
  t.equal(stepAfter(WATCHING, { kind: 'watched' }, { ...LONG, sinceListMs: TIMES.relistMs }).step, 'list');
});

t.test('pauses grow to their limit while it goes badly, and a watch that held begins anew', async (t) => {
  const pauses: number[] = [];
  let state = WATCHING;
  for (let time = 0; time < 8; time += 1) {
    const next = planFollow(state, { kind: 'failed' }, SHORT, TIMES);
    pauses.push(next.pauseMs);
    state = next.state;
  }
  t.strictSame(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  t.equal(planFollow(state, { kind: 'watched' }, LONG, TIMES).pauseMs, 1000);
});

t.test('a server that ends every watch at once, or forgets at once, is not asked without a pause', async (t) => {
  for (const kind of ['watched', 'expired'] as const) {
    let state = WATCHING;
    let last = 0;
    for (let time = 0; time < 4; time += 1) {
      const { state: after, pauseMs } = planFollow(state, { kind }, SHORT, TIMES);
      t.ok(pauseMs > last, kind);
      last = pauseMs;
      state = after.step === 'list' ? planFollow(after, { kind: 'listed' }, SHORT, TIMES).state : after;
    }
  }
});

t.test('a server that asks for patience gets it, within reason', async (t) => {
  t.equal(planFollow(WATCHING, { kind: 'failed', retryAfterMs: 7000 }, SHORT, TIMES).pauseMs, 7000);
  t.equal(planFollow(WATCHING, { kind: 'failed', retryAfterMs: 86_400_000 }, SHORT, TIMES).pauseMs, 300_000);
});

t.test('whatever happens: pauses are bounded and differ between nodes', async (t) => {
  const end: fc.Arbitrary<StepEnd> = fc.oneof(
    fc.record({ kind: fc.constantFrom('listed', 'watched', 'expired', 'behind', 'too-large') }),
    fc.record({ kind: fc.constant('failed' as const), retryAfterMs: fc.nat(1e9) }),
  );
  const facts = fc.record({
    lastedMs: fc.nat(1e6),
    sinceListMs: fc.nat(1e8),
    random: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  holds(
    t,
    'pauses',
    fc.property(fc.array(fc.tuple(end, facts), { maxLength: 200, size: 'max' }), (steps) => {
      let state = FIRST_STEP;
      for (const [each, happened] of steps) {
        const { state: next, pauseMs } = planFollow(state, each, happened, TIMES);
        const isFree = each.kind === 'listed';
        assert.ok(isFree ? pauseMs === 0 : pauseMs >= TIMES.pauseMs / 2, `${pauseMs}`);
        assert.ok(pauseMs <= 300_000);
        state = next;
      }
    }),
    300,
  );
});
