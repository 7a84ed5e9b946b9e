// `holdfast install` and `uninstall` when the terminal, or whoever reads what they print, goes away.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

/** @returns the exit code of the command; nobody reads what it prints */
async function unread(...args: readonly string[]): Promise<unknown> {
  const env = { ...process.env, NODE_OPTIONS: '' };
  const child = spawn(process.execPath, [join(REPOSITORY, 'bin/holdfast'), ...args], { env, stdio: 'pipe' });
  child.stdout.destroy();
  child.stderr.destroy();
  const [code] = await once(child, 'exit');
  return code;
}

t.before(async () => {
  // What has to be built first is built by somebody whose output is read.
  await promisify(execFile)(process.execPath, [join(REPOSITORY, 'bin/holdfast'), '--version']);
});

t.test('a reader that quits does not stop the work', async (t) => {
  const root = t.testdir({});
  t.equal(await unread('install', '--root', root), 0);
  t.match(await readFile(join(root, 'var/lib/holdfast/install.json'), 'utf8'), /"phase": "done"/);
  t.equal(await unread('uninstall', '--root', root, '--yes'), 0);
  await t.rejects(readFile(join(root, 'var/lib/holdfast/install.json')), { code: 'ENOENT' });
});

t.test('a terminal that goes ends the waits, and nothing else', async (t) => {
  const args = ['--import=tsx', 'test/component/install/hangup.ts'];
  const child = spawn(process.execPath, args, { cwd: REPOSITORY, stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => (await lines.next()).value;
  t.equal(await next(), 'waiting');
  child.kill('SIGHUP');
  t.match(await next(), /^interrupted; run the command again/);
  const exit = once(child, 'exit');
  child.kill('SIGHUP');
  child.stdin.end();
  t.strictSame(await exit, [0, null], 'the second one, which a shell sends, ends nothing either');
});
