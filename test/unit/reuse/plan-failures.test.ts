import t from 'tap';
import { type ContainerEnd, failedTooOften, judge } from '../../../agent/reuse/plan-failures.ts';
import { A, B, C, record } from './records.ts';

const LIMIT = { limit: 2, withinMs: 1000 };
const failure = (more: Partial<ContainerEnd> = {}): ContainerEnd => ({
  id: A,
  state: 'exited',
  startedAt: 5000,
  finishedAt: 5500,
  exitCode: 1,
  ...more,
});

t.test('failures soon after the start count, each container once', async (t) => {
  const once = judge(record(), failure(), LIMIT);
  t.equal(once.fastFailures, 1);
  t.equal(judge(once, failure(), LIMIT), once);
  const twice = judge(once, failure({ id: B }), LIMIT);
  t.equal(twice.fastFailures, 2);
  t.notOk(failedTooOften(once, LIMIT));
  t.ok(failedTooOften(twice, LIMIT));
  t.equal(judge(twice, failure({ id: C, exitCode: 0 }), LIMIT).fastFailures, 0, 'success begins anew');
});

t.test('what counts', async (t) => {
  const counts = (more: Partial<ContainerEnd>): number => judge(record(), failure(more), LIMIT).fastFailures;
  t.equal(counts({ finishedAt: 6000 }), 0, 'it ran long enough');
  t.equal(counts({ finishedAt: 5999 }), 1);
  t.equal(counts({ startedAt: 0 }), 1, 'it could not be started');
  t.equal(counts({ state: 'created' }), 0);
  t.equal(counts({ state: 'running' }), 0);
  t.equal(counts({ state: 'unknown' }), 0);
});

t.test('a limit of 0 never gives up', async (t) => {
  t.notOk(failedTooOften(record({ fastFailures: 99 }), { limit: 0, withinMs: 1000 }));
});
