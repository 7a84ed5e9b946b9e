// A program, one of Holdfast's if not said otherwise, as a process of its own: started as systemd would, killed as an
// operator or the kernel may.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '../../../lib/errors.ts';
import { pollUntil } from './poll.ts';

/** A program that ends is noticed at once; one that is slow has a busy machine. */
const READY_TIMEOUT_MS = 120_000;
/** As systemd's units have it (TimeoutStopSec). */
const STOP_TIMEOUT_MS = 15_000;

export interface ProgramOptions {
  /** For messages, such as `agent`. */
  readonly name: string;
  /** The executable, where it is not Holdfast's own. */
  readonly executable?: string;
  readonly args: readonly string[];
  /** Takes its standard output and standard error, of all starts. */
  readonly logPath: string;
  /** Resolves to true when the program serves; until then it may reject. */
  readonly ready: () => Promise<boolean>;
  /** Milliseconds it may take until then. Default: 120 s. */
  readonly readyTimeoutMs?: number;
  /** Added to this process's environment at every start. */
  readonly env?: Readonly<Record<string, string>>;
  /** The path of the network namespace that it runs in. Default: this process's. */
  readonly networkNamespace?: string;
}

export interface Program {
  /** undefined while it is down. */
  readonly pid: () => number | undefined;
  /** Starts it and waits until it serves. @param env - added to this process's environment */
  readonly start: (options?: {
    readonly env?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  }) => Promise<void>;
  /** Sends the signal and waits for the end of the process. */
  readonly kill: (signal: NodeJS.Signals) => Promise<void>;
  /** Resolves when the process has ended by itself or by a failpoint. */
  readonly ended: () => Promise<void>;
  /** Asks it to end, and kills it when it does not. */
  readonly stop: () => Promise<void>;
}

/** `bin/holdfast`, seen from this file among the sources and from its place in dist/. */
export function holdfastExecutable(): string {
  const candidates = ['../../../bin/holdfast', '../../../../bin/holdfast'];
  const paths = candidates.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) throw new HoldfastError('BUG', `bin/holdfast is not at ${paths.join(' or ')}`);
  return found;
}

async function lastWords(logPath: string): Promise<string> {
  return (await readFile(logPath, 'utf8')).trim().split('\n').slice(-3).join(' ');
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** nsenter becomes the program: it keeps the process and its ID. */
export function commandIn(
  networkNamespace: string | undefined,
  executable: string,
  args: readonly string[],
): readonly [string, readonly string[]] {
  if (networkNamespace === undefined) return [executable, args];
  return ['nsenter', [`--net=${networkNamespace}`, '--', executable, ...args]];
}

export function createProgram(options: ProgramOptions): Program {
  const { name, executable, args, logPath, ready, readyTimeoutMs = READY_TIMEOUT_MS, networkNamespace } = options;
  let child: ChildProcess | undefined;

  const start: Program['start'] = async ({ env = {}, signal } = {}) => {
    const log = await open(logPath, 'a');
    try {
      // Detached: a Ctrl-C in the terminal is for quickstart, which then stops its programs in order.
      const own = executable === undefined ? [holdfastExecutable()] : [];
      const command = commandIn(networkNamespace, executable ?? process.execPath, [...own, ...args]);
      const started = spawn(...command, {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        // As systemd starts it: what Node.js was told for this process (an inspector, a loader) is not for that one.
        env: { ...process.env, NODE_OPTIONS: '', ...options.env, ...env },
      });
      child = started;
      const serves = async (): Promise<true | undefined> => (hasEnded(started) || (await ready()) ? true : undefined);
      await pollUntil(`the ${name} to serve`, readyTimeoutMs, serves, signal);
      if (hasEnded(started)) {
        throw new HoldfastError('HOST_FAILURE', `the ${name} ended at its start: ${await lastWords(logPath)}`);
      }
    } finally {
      await log.close();
    }
  };

  const ended = async (): Promise<void> => {
    if (child !== undefined && !hasEnded(child)) await once(child, 'exit');
  };

  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child?.kill(signal);
    await ended();
    child = undefined;
  };

  const stop = async (): Promise<void> => {
    const timer = setTimeout(() => child?.kill('SIGKILL'), STOP_TIMEOUT_MS);
    try {
      await kill('SIGTERM');
    } finally {
      clearTimeout(timer);
    }
  };

  return { pid: () => (child === undefined || hasEnded(child) ? undefined : child.pid), start, kill, ended, stop };
}
