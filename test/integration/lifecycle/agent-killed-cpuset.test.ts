// kill -9 of the agent at every journalled step of the cpuset feature: nothing is lost, no CPU is given twice.
import t from 'tap';
import { failpointsBelow, liveWithDeaths, Supervisor } from './agent-killed.ts';
import { NEEDS_CPUS, startNode } from './harness.ts';
import { neighbour } from './pods.ts';

t.test('killed at every step of cpuset', { skip: NEEDS_CPUS }, async (t) => {
  const points = await failpointsBelow('cpuset');
  t.not(points.length, 0, `points: ${points.join(' ')}`);
  const node = await startNode(t);
  await node.kubelet.makePod(neighbour());
  const supervisor = new Supervisor(t, node);
  for (const point of points) await t.test(point, (t) => liveWithDeaths(t, node, supervisor, point));
});
