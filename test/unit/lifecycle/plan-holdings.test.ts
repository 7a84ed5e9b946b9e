import t from 'tap';
import { type HeldPod, planHoldings } from '../../../agent/lifecycle/plan-holdings.ts';
import { podUid } from '../../../agent/model/ids.ts';

const GRACE = 1000;
const pod = (change: Partial<HeldPod>): HeldPod => ({
  uid: podUid('u'),
  phase: 'unknown',
  running: false,
  withoutSandboxSince: undefined,
  ...change,
});
const why = (change: Partial<HeldPod>, now = 5000): readonly string[] =>
  planHoldings([pod(change)], now, GRACE).map((end) => end.why);

t.test('a pod with a sandbox keeps what it has', async (t) => t.same(why({}), []));

t.test('a pod without a sandbox keeps it for the grace period', async (t) => {
  t.same(why({ withoutSandboxSince: 4001 }), []);
  t.same(why({ withoutSandboxSince: 4000 }), ['no-sandbox']);
});

t.test('as long as the pod source says it is there, it keeps it', async (t) => {
  t.same(why({ phase: 'present', withoutSandboxSince: 0 }), []);
  t.same(why({ phase: 'deleting', withoutSandboxSince: 0 }), ['no-sandbox']);
});

t.test('a deleted or finished pod loses it at once, but never while a container of it runs', async (t) => {
  t.same(why({ phase: 'deleted' }), ['deleted']);
  t.same(why({ phase: 'finished' }), ['finished']);
  t.same(why({ phase: 'deleted', running: true }), []);
  t.same(why({ withoutSandboxSince: 0, running: true }), []);
});
