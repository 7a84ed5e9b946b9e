import t from 'tap';
import { pause } from '../../../../agent/host/network/pause.ts';

const HOUR_MS = 3_600_000;

t.test('a pause ends when its time is over, and at once with the reason of the signal', async (t) => {
  await pause(1, new AbortController().signal);
  const reason = new Error('enough');
  await t.rejects(pause(HOUR_MS, AbortSignal.abort(reason)), reason);
  const controller = new AbortController();
  const refused = t.rejects(pause(HOUR_MS, controller.signal), reason);
  controller.abort(reason);
  await refused;
});
