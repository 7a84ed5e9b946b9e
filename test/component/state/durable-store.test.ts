// The store on a real disk: reopening, group commit, rights, one process at a time, records of another version.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { inspectStore } from '../../../agent/state/inspect.ts';
import { openStore } from '../../../agent/state/open-store.ts';
import { put, type Table } from '../../../agent/state/store.ts';
import type { HoldfastError } from '../../../lib/errors.ts';
import { storeContract } from '../../support/store-contract.ts';

const NUMBERS: Table<{ readonly n: number }> = { name: 'numbers', schema: z.object({ n: z.number() }) };

async function directoryFor(t: Test): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-store-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return path.join(directory, 'state');
}

async function open(t: Test, directory: string) {
  const problems: HoldfastError[] = [];
  const opened = await openStore({ directory, onProblem: (error) => problems.push(error) });
  t.teardown(() => opened.store.close());
  return { ...opened, problems };
}

t.test('the contract of every store', (t) => {
  storeContract(t, async (t) => (await open(t, await directoryFor(t))).store);
  t.end();
});

t.test('a reopened store has everything, with and without its snapshot', async (t) => {
  const directory = await directoryFor(t);
  const first = await open(t, directory);
  t.equal(first.recovery, undefined, 'a new store has lost nothing');
  await first.store.commit([put(NUMBERS, 'a', { n: 1 })]);
  await first.store.close();
  const second = await open(t, directory);
  t.equal(second.recovery, undefined);
  t.strictSame([...second.store.entries(NUMBERS)], [['a', { n: 1 }]]);
  await second.store.close();
  await rm(path.join(directory, 'snapshot.jsonl'));
  const third = await open(t, directory);
  t.equal(third.recovery, undefined);
  t.equal(third.store.entries(NUMBERS).size, 1);
  t.strictSame(third.problems, []);
});

t.test('the files are for their owner only', async (t) => {
  const directory = await directoryFor(t);
  const { store } = await open(t, directory);
  await store.commit([put(NUMBERS, 'a', { n: 1 })]);
  await store.close();
  t.equal((await stat(directory)).mode & 0o777, 0o700);
  for (const name of await readdir(directory)) {
    t.equal((await stat(path.join(directory, name))).mode & 0o777, 0o600, name);
  }
});

t.test('a second process is refused and told who has it', async (t) => {
  const directory = await directoryFor(t);
  const { store } = await open(t, directory);
  await t.rejects(openStore({ directory, onProblem: () => {} }), {
    code: 'PRECONDITION',
    message: new RegExp(`in use by process ${process.pid}; stop the agent`),
  });
  await t.rejects(inspectStore(directory), { code: 'PRECONDITION' });
  await store.commit([put(NUMBERS, 'a', { n: 1 })]);
  await store.close();
  t.strictSame((await inspectStore(directory)).records, { numbers: { a: { n: 1 } } });
  await t.rejects(inspectStore(path.join(directory, 'nowhere')), { code: 'NOT_FOUND' });
});

t.test('a record that no longer has its shape is set aside and reported, and stays readable', async (t) => {
  const directory = await directoryFor(t);
  const first = await open(t, directory);
  const older: Table<unknown> = { name: 'numbers', schema: z.unknown() };
  await first.store.commit([put(older, 'good', { n: 1 }), put(older, 'old', { count: 1 })]);
  t.strictSame([...first.store.entries(NUMBERS).keys()], ['good']);
  t.match(first.problems, [{ code: 'DAMAGED', message: /numbers\/old.*set aside/ }]);
  await first.store.commit([put(NUMBERS, 'old', { n: 2 })]);
  await first.store.close();
  const second = await open(t, directory);
  t.strictSame(
    second.store.entries(NUMBERS),
    new Map([
      ['good', { n: 1 }],
      ['old', { n: 2 }],
    ]),
  );
  t.match(second.store.dump()['quarantine'], { 'numbers/old': { value: { count: 1 } } });
  t.strictSame(second.problems, []);
});

t.test('commits that come together share transactions', async (t) => {
  const directory = await directoryFor(t);
  const { store } = await open(t, directory);
  await Promise.all(Array.from({ length: 300 }, (_, n) => store.commit([put(NUMBERS, `k${n}`, { n })])));
  await store.close();
  const header = (await readFile(path.join(directory, 'snapshot.jsonl'), 'utf8')).split('\n')[0] ?? '';
  const { sequence, count } = JSON.parse((JSON.parse(header) as [string])[0]) as { sequence: number; count: number };
  t.equal(count, 300);
  t.ok(sequence < 50, `${sequence} transactions for 300 commits`);
});

t.test('a directory that cannot be prepared is an error that names it', async (t) => {
  const parent = path.dirname(await directoryFor(t));
  await writeFile(path.join(parent, 'file'), '');
  const directory = path.join(parent, 'file', 'state');
  await t.rejects(openStore({ directory, onProblem: () => {} }), {
    code: 'HOST_FAILURE',
    message: /file\/state cannot be prepared/,
  });
});
