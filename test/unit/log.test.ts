// Log lines are JSON with the message of causes, and repeated warnings are held back.
import t from 'tap';
import { createLogger, rateLimit, rateLimitedWarnings } from '../../agent/log.ts';
import { HoldfastError } from '../../lib/errors.ts';

function collect() {
  const lines: Record<string, unknown>[] = [];
  return { lines, write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) };
}

t.test('lines have a level by name, a time and the causes of an error', async (t) => {
  const sink = collect();
  const log = createLogger('info', sink);
  log.debug('not shown');
  log.error({ err: new HoldfastError('HOST_FAILURE', 'outer', { cause: new Error('inner') }) }, 'failed');
  t.match(sink.lines, [{ level: 'error', msg: 'failed', err: { message: 'outer', cause: { message: 'inner' } } }]);
  t.equal(sink.lines.length, 1);
  t.match(sink.lines[0]?.['time'], /^\d{4}-\d\d-\d\dT/);
});

t.test('a subject is let through once per interval, with what was held back', async (t) => {
  let now = 0;
  const allow = rateLimit(1000, () => now);
  t.equal(allow('a'), 0);
  now = 500;
  t.equal(allow('a'), undefined);
  t.equal(allow('a'), undefined);
  t.equal(allow('b'), 0, 'another subject');
  now = 1000;
  t.equal(allow('a'), 2);
  now = 2500;
  t.equal(allow('a'), 0);
});

t.test('subjects are bounded', async (t) => {
  const allow = rateLimit(1000, () => 0);
  for (let index = 0; index < 5000; index += 1) allow(`pod-${index}`);
  t.equal(allow('pod-4999'), undefined, 'the newest is remembered');
  t.equal(allow('pod-0'), 0, 'the oldest is forgotten');
});

t.test('held-back warnings are counted in the next one', async (t) => {
  const sink = collect();
  const warn = rateLimitedWarnings(createLogger('info', sink), 60_000);
  warn('pod-a', { code: 'NO_ROOM' }, 'refused');
  warn('pod-a', { code: 'NO_ROOM' }, 'refused');
  t.match(sink.lines, [{ level: 'warn', subject: 'pod-a', code: 'NO_ROOM', msg: 'refused' }]);
  t.equal(sink.lines.length, 1);
});
