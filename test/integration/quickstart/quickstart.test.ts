// `holdfast quickstart` as users run it: the real executable, its output, its exit code and what it leaves behind.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import t from 'tap';
import { holdfastExecutable } from '../../../agent/cli/quickstart/program.ts';

const NOBODY = 65534;
const root = process.geteuid?.() === 0;
const skip = root ? false : 'quickstart needs root';

interface Run {
  readonly child: ChildProcess;
  /** Resolves with everything printed once the text was seen, or rejects at the end of the program. */
  readonly seen: (text: string) => Promise<void>;
  readonly ended: Promise<{ readonly code: number | null; readonly output: string }>;
}

function start(options: object = {}): Run {
  // Without what tap makes every Node.js process load: it has to run as for users.
  const command = ['-u', 'NODE_OPTIONS', process.execPath, holdfastExecutable(), 'quickstart', '--once'];
  const child = spawn('env', command, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk));
  const ended = once(child, 'close').then(([code]: unknown[]) => ({
    code: typeof code === 'number' ? code : null,
    output,
  }));
  const seen = async (text: string): Promise<void> => {
    while (!output.includes(text)) {
      if (child.exitCode !== null) throw new Error(`it ended before it printed "${text}": ${output}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
  };
  return { child, seen, ended };
}

/** Directories and mounts of the run; those of tests that run beside this one carry other process numbers. */
function remainsOf({ child }: Run): readonly string[] {
  const prefix = `holdfast-private-${child.pid}-`;
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return [...readdirSync(tmpdir()), ...mounts].filter((text) => text.includes(prefix));
}

t.test('every claim is verified, and nothing is left', { skip }, async (t) => {
  const run = start();
  const { code, output } = await run.ended;
  t.equal(code, 0, output);
  for (let step = 1; step <= 5; step += 1) t.match(output, new RegExp(`^${step}\\. .+$`, 'm'));
  t.match(output, /"attempt 0 began", "attempt 1 began"/);
  t.match(output, /Warning {2}FailedCreatePodSandBox {2}kubelet {2}Failed to create pod sandbox: rpc error: code = /);
  t.match(output, 'NUMA node 0');
  t.match(output, 'All of it was verified');
  t.notMatch(output, '✗');
  t.strictSame(remainsOf(run), []);
});

t.test('SIGINT in the middle cleans up', { skip }, async (t) => {
  const run = start();
  await run.seen('2. The container is killed');
  run.child.kill('SIGINT');
  const { code, output } = await run.ended;
  t.equal(code, 130, output);
  t.match(output, 'Cleaning up.');
  t.strictSame(remainsOf(run), []);
});

const canRead = (): boolean =>
  spawnSync('test', ['-r', holdfastExecutable()], { uid: NOBODY, gid: NOBODY }).status === 0;
const skipOther = skip || (canRead() ? false : 'other users cannot read this checkout');

t.test('without root it says what is missing', { skip: skipOther }, async (t) => {
  const { code, output } = await start({ uid: NOBODY, gid: NOBODY }).ended;
  t.equal(code, 1);
  t.match(output, /needs root/);
  t.equal(output.trim().split('\n').length, 1, 'one sentence');
});
