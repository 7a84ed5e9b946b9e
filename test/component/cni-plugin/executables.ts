// The two forms of the CNI plugin as programs to start: built by the checkout's own build, and by the C compiler.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const WARNINGS = ['-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-Werror'];

export interface Executable {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

/** @returns the reason where it cannot be built here */
export function launcher(t: Test): Executable | string {
  if (spawnSync('cc', ['--version']).error !== undefined) return 'no C compiler (cc)';
  const output = join(t.testdir(), 'holdfast');
  const source = join(ROOT, 'cni-plugin', 'launcher.c');
  const { status, stderr } = spawnSync('cc', ['-std=c11', '-O2', ...WARNINGS, '-o', output, source], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`launcher.c does not compile:\n${stderr}`);
  return { name: 'launcher.c', command: [output] };
}

/** Built when the sources are newer than dist. */
export function nodePlugin(): Executable {
  const build = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { encoding: 'utf8' });
  if (build.status !== 0) throw new Error(`the checkout does not build:\n${build.stderr}`);
  return { name: 'main.ts', command: [process.execPath, join(ROOT, 'dist', 'cni-plugin', 'main.js')] };
}

export interface Started {
  readonly pid: number | undefined;
  kill(): void;
  readonly ended: Promise<{ readonly exitStatus: number | null; readonly stdout: string; readonly stderr: string }>;
}

/** @param stdin - undefined leaves it open */
export function start(
  t: Test,
  { command: [program, ...args] }: Executable,
  environment: Readonly<Record<string, string>>,
  stdin: string | Uint8Array | undefined,
): Started {
  const child = spawn(program, args, { env: environment, stdio: 'pipe' });
  t.teardown(() => child.kill('SIGKILL'));
  const chunks: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  // It may end without reading everything.
  child.stdin.on('error', () => {});
  if (stdin !== undefined) child.stdin.end(stdin);
  const ended = once(child, 'close').then(([exitStatus]: unknown[]) => ({
    exitStatus: exitStatus as number | null,
    stdout: Buffer.concat(chunks).toString(),
    stderr,
  }));
  return { pid: child.pid, kill: () => void child.kill('SIGKILL'), ended };
}
