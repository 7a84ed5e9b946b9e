import t from 'tap';
import { createLog } from '../../../cri-shim/log.ts';

function createTestLog() {
  const lines: Record<string, unknown>[] = [];
  const clock = { now: 1000 };
  const log = createLog({
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
    now: () => clock.now,
    linesPerPeriod: 2,
    periodMs: 100,
  });
  return { lines, clock, log };
}

t.test('a line has the shape of pino', async (t) => {
  const { lines, log } = createTestLog();
  log.warn('fallback', 'no\nagent', { id: 7 });
  t.same(lines, [{ level: 40, time: 1000, name: 'cri-shim', event: 'fallback', id: 7, count: 1, msg: 'no\nagent' }]);
});

t.test('lines of one event are limited and what was left out is counted', async (t) => {
  const { lines, clock, log } = createTestLog();
  for (let index = 0; index < 5; index += 1) log.info('a', 'text');
  log.info('b', 'another event has its own limit');
  t.equal(lines.length, 3);
  clock.now += 100;
  log.info('a', 'text');
  t.match(lines.at(-1), { event: 'a', count: 6, suppressed: 3 });
  log.info('a', 'text');
  t.notOk(lines.at(-1)?.['suppressed']);
});
