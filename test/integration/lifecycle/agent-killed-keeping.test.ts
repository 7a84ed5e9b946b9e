// kill -9 of the agent at every other journalled step of the reuse feature, while layers are kept and given up: nothing
// is lost, and no lease or snapshot is left behind.
import t from 'tap';
import { failpointsBelow, isMove, liveThroughAll } from './agent-killed.ts';
import { NEEDS_ROOT } from './harness.ts';

t.test('killed at every step of keeping and dropping', { skip: NEEDS_ROOT }, async (t) => {
  await liveThroughAll(
    t,
    (await failpointsBelow('reuse')).filter((point) => !isMove(point)),
  );
});
