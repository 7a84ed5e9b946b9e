// kill -9 of the agent at every journalled step of a layer's move into the next container: no data is lost.
import t from 'tap';
import { failpointsBelow, isMove, liveThroughAll } from './agent-killed.ts';
import { NEEDS_ROOT } from './harness.ts';

t.test('killed at every step of a move', { skip: NEEDS_ROOT }, async (t) => {
  await liveThroughAll(t, (await failpointsBelow('reuse')).filter(isMove));
});
