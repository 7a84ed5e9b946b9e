// Whoever is killed, whenever: what was acknowledged is there, and a commit is there as a whole or not at all.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { openStore } from '../../../agent/state/open-store.ts';
import { put, type Table } from '../../../agent/state/store.ts';
import type { HoldfastError } from '../../../lib/errors.ts';

const COUNTERS: Table<{ readonly n: number }> = { name: 'counters', schema: z.object({ n: z.number() }) };
const PROGRAM = fileURLToPath(new URL('./writer-program.ts', import.meta.url));

async function directoryFor(t: Test): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-crash-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs the writer until it has acknowledged that many commits, then kills it. @returns the last acknowledged one */
async function writeAndKill(t: Test, directory: string, commits: number): Promise<number> {
  const writer: ChildProcess = spawn(process.execPath, ['--import=tsx', PROGRAM, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => writer.kill('SIGKILL'));
  const exited = once(writer, 'exit');
  let text = '';
  writer.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (text.split('\n').length > commits) writer.kill('SIGKILL');
  });
  const [code, signal] = (await exited) as [number | null, string | null];
  t.equal(signal, 'SIGKILL', `ended with ${code}`);
  // What stands after the last newline was not said completely.
  return Math.max(0, ...text.slice(0, text.lastIndexOf('\n')).split('\n').map(Number));
}

/** Children of this process that keep the state, by /proc: the only way to find the process to kill. */
async function keepers(): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent === process.pid && command.includes('keeper-process')) found.push(Number(name));
  }
  return found;
}

t.test('kill -9 of the agent: every acknowledged commit is there, none by half', async (t) => {
  const directory = await directoryFor(t);
  for (const commits of [1, 17, 60, 143]) {
    const acknowledged = await writeAndKill(t, directory, commits);
    // The lock passes over as soon as the keeper of the killed one has ended.
    const { store, recovery } = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
    const records = store.entries(COUNTERS);
    await store.close();
    t.equal(recovery, undefined);
    const twin = records.get('twin')?.n ?? 0;
    t.ok(twin >= acknowledged, `${twin} is there where ${acknowledged} was acknowledged`);
    t.equal(records.get(`k${twin % 20}`)?.n, twin);
    for (let n = Math.max(1, twin - 19); n < twin; n += 1) t.equal(records.get(`k${n % 20}`)?.n, n);
  }
});

t.test('kill -9 of the keeper: the agent starts another one and loses nothing', async (t) => {
  const directory = await directoryFor(t);
  const problems: HoldfastError[] = [];
  const { store } = await openStore({ directory, onProblem: (error) => problems.push(error) });
  t.teardown(() => store.close());
  await store.commit([put(COUNTERS, 'a', { n: 1 })]);
  const [first] = await keepers();
  if (first === undefined) throw new Error('the store has no keeper');
  const commits = Array.from({ length: 50 }, (_, n) => store.commit([put(COUNTERS, `c${n}`, { n })]));
  process.kill(first, 'SIGKILL');
  await Promise.all(commits);
  t.match(problems, [{ message: /had to be started again/ }]);
  await store.commit([put(COUNTERS, 'b', { n: 2 })]);
  t.equal(store.entries(COUNTERS).size, 52);
  await store.close();
  const again = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.teardown(() => again.store.close());
  t.equal(again.recovery, undefined);
  t.equal(again.store.entries(COUNTERS).size, 52);
});

t.test('a keeper that cannot be started says nothing about the file', async (t) => {
  const directory = await directoryFor(t);
  const { store } = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  await store.commit([put(COUNTERS, 'a', { n: 1 })]);
  await store.close();
  const before = process.execArgv;
  process.execArgv = ['--import=no-such-loader'];
  try {
    await t.rejects(openStore({ directory, onProblem: () => {} }), { code: 'HOST_FAILURE' });
  } finally {
    process.execArgv = before;
  }
  t.notOk((await readdir(directory)).some((name) => name.startsWith('damaged-')));
  const again = await openStore({ directory, onProblem: (error) => t.fail(error.message) });
  t.equal(again.recovery, undefined);
  t.equal(again.store.entries(COUNTERS).size, 1);
  await again.store.close();
});
