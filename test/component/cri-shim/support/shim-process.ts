// The cri-shim as a process of its own, from its sources.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './bench.ts';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const PROGRAM = ['--import=tsx', join(ROOT, 'cri-shim/main.ts')];

export interface ShimProcess {
  readonly child: ChildProcess;
  /** Everything written so far, both outputs. */
  output(): string;
  exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  ready(): Promise<void>;
}

export interface SpawnOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A listening socket to be inherited as descriptor 3, as systemd does. */
  readonly inherit?: number;
}

export interface Workplace {
  readonly directory: string;
  readonly shimPath: string;
  readonly runtimePath: string;
  /** Flags that keep the shim within the directory. */
  readonly flags: readonly string[];
  spawn(options?: SpawnOptions): ShimProcess;
}

/** A directory for sockets; what was started in it is ended and removed after the test. */
export async function createWorkplace(t: { teardown(handler: () => Promise<void>): void }): Promise<Workplace> {
  const directory = await mkdtemp(join(tmpdir(), 'shim-'));
  const shimPath = join(directory, 'cri.sock');
  const runtimePath = join(directory, 'runtime.sock');
  const flags = ['--listen', shimPath, '--upstream', runtimePath, '--agent', join(directory, 'agent.sock')];
  const started: ShimProcess[] = [];
  t.teardown(async () => {
    for (const { child, exited } of started) {
      child.kill('SIGKILL');
      await exited;
    }
    await rm(directory, { recursive: true });
  });
  return {
    directory,
    shimPath,
    runtimePath,
    flags: [...flags, '--run-dir', directory],
    spawn({ args = [...flags, '--run-dir', directory], env = {}, inherit } = {}) {
      const stdio = ['ignore', 'pipe', 'pipe', ...(inherit === undefined ? [] : [inherit])] as ('pipe' | number)[];
      // LISTEN_PID must be the process itself, and only a shell knows its own ID before it becomes it.
      const activated = inherit !== undefined;
      const script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"';
      const command = activated ? '/bin/sh' : process.execPath;
      const words = activated ? ['-c', script, process.execPath, ...PROGRAM, ...args] : [...PROGRAM, ...args];
      const child = spawn(command, words, { cwd: ROOT, stdio, env: { ...process.env, ...env } });
      let output = '';
      child.stdout?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
      child.stderr?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
      const exited = once(child, 'close').then(([code, signal]) => ({
        code: code as number | null,
        signal: signal as string | null,
      }));
      const shim: ShimProcess = {
        child,
        output: () => output,
        exited,
        ready: () => until(() => output.includes('"event":"ready"') || child.exitCode !== null, `ready: ${output}`),
      };
      started.push(shim);
      return shim;
    },
  };
}
