// bin/holdfast in a small checkout of its own: when it builds, and which program it starts.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const OTHER_PROGRAM = "throw new Error('the other program was loaded');\n";

interface Checkout {
  readonly path: (name: string) => string;
  /** Writes a source that is newer than everything before it, whatever the precision of the file system's times. */
  readonly write: (name: string, content: string) => void;
  readonly run: (
    ...args: readonly string[]
  ) => Promise<{ readonly code: unknown; readonly stdout: string; readonly stderr: string }>;
}

async function result(child: ChildProcess) {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code]: unknown[] = await once(child, 'close');
  return { code, stdout, stderr };
}

function checkout(t: Test): Checkout {
  const root = t.testdir();
  const path = (name: string): string => join(root, name);
  for (const name of [
    'bin',
    'scripts',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'buf.yaml',
    'buf.gen.yaml',
  ]) {
    cpSync(join(ROOT, name), path(name), { recursive: true });
  }
  for (const name of [
    'lib',
    'agent',
    'cri-shim',
    'cni-plugin',
    'extender',
    'proto/holdfast/v1',
    'proto/wire',
    'node_modules',
  ]) {
    mkdirSync(path(name), { recursive: true });
  }
  for (const name of ['.bin', '@bufbuild']) symlinkSync(join(ROOT, 'node_modules', name), path(`node_modules/${name}`));
  let clock = Date.now() / 1000 - 1000;
  const write = (name: string, content: string): void => {
    writeFileSync(path(name), content);
    clock += 10;
    utimesSync(path(name), clock, clock);
  };
  write('proto/holdfast/v1/a.proto', 'syntax = "proto3";\npackage holdfast.v1;\nmessage A { string a = 1; }\n');
  write('lib/a.ts', "export const text: string = 'first';\n");
  write('agent/main.ts', OTHER_PROGRAM);
  const main = "import { text } from '../lib/a.ts';\nimport '../proto/gen/holdfast/v1/a_pb.ts';\n";
  write('cri-shim/main.ts', `${main}console.log(text, JSON.stringify(process.argv.slice(2)));\n`);
  const run = async (...args: readonly string[]) =>
    result(spawn(path('bin/holdfast'), args, { stdio: ['ignore', 'pipe', 'pipe'] }));
  return { path, write, run };
}

t.test('builds what is missing and what has changed, and nothing else', async (t) => {
  const { path, write, run } = checkout(t);
  const first = await run('cri-shim', '--flag');
  t.equal(first.stdout, 'first ["--flag"]\n', first.stderr);
  t.match(first.stderr, /generating proto\/gen\n.*building dist/);
  const again = await run('cri-shim');
  t.equal(again.stderr, '', 'nothing is built twice');
  write('lib/a.ts', "export const text: string = 'second';\n");
  // In the future, so that it is newer than the build whatever its own times are.
  const later = Date.now() / 1000 + 100;
  utimesSync(path('lib/a.ts'), later, later);
  const changed = await run('cri-shim');
  t.equal(changed.stdout, 'second []\n');
  t.equal(changed.stderr, 'holdfast: building dist\n', 'what was generated is still good');
});

t.test('a removed source does not live on in the build', async (t) => {
  const { path, write, run } = checkout(t);
  write('lib/gone.ts', 'export const gone: number = 1;\n');
  await run('cri-shim');
  t.ok(statSync(path('dist/lib/gone.js'), { throwIfNoEntry: false }));
  rmSync(path('lib/gone.ts'));
  await run('cri-shim');
  t.notOk(statSync(path('dist/lib/gone.js'), { throwIfNoEntry: false }));
});

t.test('the cri-shim does not load the agent, and everything else is the agent', async (t) => {
  const { write, run } = checkout(t);
  write('cri-shim/main.ts', OTHER_PROGRAM);
  write('agent/main.ts', "console.log('agent', JSON.stringify(process.argv.slice(2)));\n");
  t.equal((await run('status', '-o', 'json')).stdout, 'agent ["status","-o","json"]\n');
  t.equal((await run()).stdout, 'agent []\n');
  const wrong = await run('cri-shim');
  t.equal(wrong.code, 1);
  t.match(wrong.stderr, 'the other program was loaded');
});

t.test('programs that start together build once, and all of them run', async (t) => {
  const { run } = checkout(t);
  const runs = await Promise.all([run('cri-shim'), run('cri-shim'), run('cri-shim')]);
  t.strictSame(
    runs.map(({ stdout }) => stdout),
    ['first []\n', 'first []\n', 'first []\n'],
  );
  t.equal(runs.filter(({ stderr }) => stderr.includes('building dist')).length, 1);
});

t.test('a build that fails says why, and the old one stays', async (t) => {
  const { path, write, run } = checkout(t);
  await run('cri-shim');
  const built = readFileSync(path('dist/cri-shim/main.js'), 'utf8');
  write('proto/holdfast/v1/a.proto', 'syntax = "proto3";\npackage holdfast.v1;\nmessage A { nonsense }\n');
  const later = Date.now() / 1000 + 100;
  utimesSync(path('proto/holdfast/v1/a.proto'), later, later);
  const { code, stdout, stderr } = await run('cri-shim');
  t.equal(code, 1);
  t.equal(stdout, '');
  t.match(stderr, /a\.proto[\s\S]*holdfast: buf generate failed; nothing was built/);
  t.equal(readFileSync(path('dist/cri-shim/main.js'), 'utf8'), built);
});

t.test('without npm packages it says what to run', async (t) => {
  const { path, run } = checkout(t);
  rmSync(path('node_modules'), { recursive: true });
  const { code, stderr } = await run('cri-shim');
  t.equal(code, 1);
  t.match(stderr, /^holdfast: the npm packages are missing; run .*set-up\.mjs.*\n$/);
});

t.test('outside a checkout it runs what was built', async (t) => {
  const { path, write, run } = checkout(t);
  await run('cri-shim');
  rmSync(path('tsconfig.build.json'));
  write('lib/a.ts', "export const text: string = 'never built';\n");
  t.equal((await run('cri-shim')).stdout, 'first []\n');
});
