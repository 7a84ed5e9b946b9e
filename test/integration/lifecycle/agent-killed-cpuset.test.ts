// kill -9 of the agent at every journalled step of the cpuset feature: nothing is lost, no CPU is given twice.
import t from 'tap';
import { failpointsBelow, liveThroughAll } from './agent-killed.ts';
import { NEEDS_CPUS } from './harness.ts';

t.test('killed at every step of cpuset', { skip: NEEDS_CPUS }, async (t) => {
  await liveThroughAll(t, await failpointsBelow('cpuset'));
});

t.test('there are no other failpoints than those killed at', async (t) => {
  const [all, ...features] = await Promise.all(['.', 'cpuset', 'network', 'reuse'].map(failpointsBelow));
  t.strictSame(all, features.flat().toSorted());
});
