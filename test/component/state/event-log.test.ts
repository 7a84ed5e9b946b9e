// A log of events on a real disk: in order, bounded, and none the worse for what happens to its files.
import { appendFile, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { EventLog } from '../../../agent/state/event-log.ts';
import type { HoldfastError } from '../../../lib/errors.ts';

interface Opened {
  readonly file: string;
  readonly problems: HoldfastError[];
  readonly open: () => EventLog;
}

async function place(t: Test): Promise<Opened> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-events-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'audit', 'addresses.jsonl');
  const problems: HoldfastError[] = [];
  return { file, problems, open: () => new EventLog({ path: file, onProblem: (error) => problems.push(error) }) };
}

t.test('the newest, the newest last, also after another start', async (t) => {
  const { open, problems } = await place(t);
  const first = open();
  t.strictSame(await first.read(10), [], 'nothing yet');
  for (let n = 0; n < 500; n += 1) first.append({ n });
  t.strictSame(await first.read(2), [{ n: 498 }, { n: 499 }]);
  await first.flush();
  const second = open();
  second.append({ n: 500 });
  t.strictSame(await second.read(3), [{ n: 498 }, { n: 499 }, { n: 500 }]);
  t.strictSame(await second.read(0), [], 'none when none are asked for');
  t.equal((await second.read(10_000)).length, 501);
  t.strictSame(problems, []);
});

t.test('its size has a limit, and what turns over is still read', async (t) => {
  const { file, open, problems } = await place(t);
  const log = open();
  const filling = 'x'.repeat(1000);
  for (let batch = 0; batch < 14; batch += 1) {
    for (let n = 0; n < 1000; n += 1) log.append({ batch, n, filling });
    await log.flush();
  }
  const sizes = await Promise.all([file, `${file}.former`].map(async (each) => (await stat(each)).size));
  t.ok(
    sizes.every((size) => size < 6 * 1024 * 1024),
    `${sizes.join(' and ')} bytes`,
  );
  const [oldest, ...others] = (await log.read(5000)) as readonly { readonly batch: number; readonly n: number }[];
  t.equal(others.length, 4999);
  t.match(oldest, { batch: 9, n: 0 });
  t.strictSame(problems, []);
});

t.test('a line that a power cut has left without its end costs no other', async (t) => {
  const { file, open } = await place(t);
  const before = open();
  before.append({ n: 1 });
  await before.flush();
  await appendFile(file, '{"n":2,"det');
  const after = open();
  after.append({ n: 3 });
  t.strictSame(await after.read(10), [{ n: 1 }, { n: 3 }]);
});

t.test('a directory that cannot be written is told of, and used again when it can', async (t) => {
  const { file, open, problems } = await place(t);
  const log = open();
  log.append({ n: 1 });
  await log.flush();
  await rm(path.dirname(file), { recursive: true });
  await writeFile(path.dirname(file), 'in the way');
  log.append({ n: 2 });
  await log.flush();
  t.match(problems, [{ code: 'HOST_FAILURE' }]);
  await rm(path.dirname(file));
  log.append({ n: 3 });
  t.strictSame(await log.read(10), [{ n: 3 }]);
  t.equal(problems.length, 1);
});

t.test('only root reads it', async (t) => {
  const { file, open } = await place(t);
  await mkdir(path.dirname(path.dirname(file)), { recursive: true });
  const log = open();
  log.append({ n: 1 });
  await log.flush();
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.equal((await stat(path.dirname(file))).mode & 0o777, 0o700);
});
