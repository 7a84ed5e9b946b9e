// Jobs: no overlap, runs on request, ended by the signal.
import t from 'tap';
import { type FinishedRun, oncePerBurst, startJob } from '../../agent/schedule.ts';

/** A job that waits to be told to end. */
function controlled() {
  const ends: (() => void)[] = [];
  const started: AbortSignal[] = [];
  const run = (signal: AbortSignal): Promise<void> => {
    started.push(signal);
    return new Promise((resolve) => ends.push(resolve));
  };
  return { run, started, end: () => ends.shift()?.() };
}

const NEVER = '0 0 0 29 2 *';

t.test('the schedule runs the job, and leaves out the times that come while it runs', async (t) => {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const { run, started, end } = controlled();
  const finished: FinishedRun[] = [];
  startJob({ name: 'j', cron: '* * * * * *', run, signal: controller.signal, onFinished: (f) => finished.push(f) });
  while (started.length < 1) await new Promise((resolve) => setTimeout(resolve, 50));
  await new Promise((resolve) => setTimeout(resolve, 2100));
  t.equal(started.length, 1, 'two more seconds have passed');
  end();
  while (started.length < 2) await new Promise((resolve) => setTimeout(resolve, 50));
  t.match(finished, [{ job: 'j' }]);
  end();
});

t.test('runs on request never overlap; those asked for meanwhile share one', async (t) => {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const { run, started, end } = controlled();
  const job = startJob({ name: 'j', cron: NEVER, run, signal: controller.signal, onFinished: () => {} });
  const first = job.now();
  const second = job.now();
  const third = job.now();
  t.equal(started.length, 1);
  end();
  await first;
  while (started.length < 2) await new Promise((resolve) => setImmediate(resolve));
  end();
  await Promise.all([second, third]);
  t.equal(started.length, 2);
  await job.stopped();
});

t.test('an error is told once and the job runs again', async (t) => {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const finished: FinishedRun[] = [];
  const job = startJob({
    name: 'j',
    cron: NEVER,
    run: () => Promise.reject(new Error('no disk')),
    signal: controller.signal,
    onFinished: (run) => finished.push(run),
  });
  await job.now();
  await job.now();
  t.match(finished, [{ error: { message: 'no disk' } }, { error: { message: 'no disk' } }]);
});

t.test('the signal ends the schedule; a run that it interrupts is no failure', async (t) => {
  const controller = new AbortController();
  const finished: FinishedRun[] = [];
  const job = startJob({
    name: 'j',
    cron: NEVER,
    run: (signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    signal: controller.signal,
    onFinished: (run) => finished.push(run),
  });
  const running = job.now();
  controller.abort();
  await job.stopped();
  await running;
  await job.now();
  t.strictSame(finished, []);
});

t.test('what comes in a burst is done once, and later bursts are not forgotten', async (t) => {
  let runs = 0;
  let ran: () => void = () => undefined;
  const call = oncePerBurst(1, () => {
    runs += 1;
    ran();
  });
  for (const expected of [1, 2]) {
    const done = new Promise<void>((resolve) => {
      ran = resolve;
    });
    const awake = setInterval(() => undefined, 1000);
    for (let time = 0; time < 5; time += 1) call();
    t.equal(runs, expected - 1, 'not at once');
    await done;
    clearInterval(awake);
    t.equal(runs, expected);
  }
});
