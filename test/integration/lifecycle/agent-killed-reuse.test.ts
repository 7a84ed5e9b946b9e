// kill -9 of the agent at every journalled step of the reuse feature: nothing is lost, nothing leaks.
import t from 'tap';
import { failpointsBelow, liveWithDeaths, Supervisor } from './agent-killed.ts';
import { NEEDS_ROOT, startNode } from './harness.ts';
import { neighbour } from './pods.ts';

t.test('killed at every step of reuse', { skip: NEEDS_ROOT }, async (t) => {
  const points = await failpointsBelow('reuse');
  t.not(points.length, 0, `points: ${points.join(' ')}`);
  const node = await startNode(t);
  await node.kubelet.makePod(neighbour());
  const supervisor = new Supervisor(t, node);
  for (const point of points) await t.test(point, (t) => liveWithDeaths(t, node, supervisor, point));
});

t.test('there are no other failpoints than those killed at', async (t) => {
  const [all, cpuset, reuse] = await Promise.all(['.', 'cpuset', 'reuse'].map(failpointsBelow));
  t.strictSame(all, [...(cpuset ?? []), ...(reuse ?? [])].toSorted());
});
