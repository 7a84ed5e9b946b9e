// Runs a program of the host to its end, never through a shell and never on the CRI path.
import { execFile } from 'node:child_process';
import { HoldfastError, isErrno } from '../../lib/errors.ts';

/** Where the host's own programs are; what the caller's PATH says does not count for a program that runs as root. */
const HOST_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What is kept of what a program wrote. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

export interface CommandOptions {
  /** Milliseconds after which the program is killed. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Where the program is looked for; default: the host's own directories. */
  readonly path?: string;
  /** For the program's standard input. */
  readonly input?: string;
  /** Variables beside those that every program gets. */
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * @returns standard output
 * @throws HoldfastError PRECONDITION when the program is not installed, HOST_FAILURE with its last words when it fails
 */
export function runCommand(program: string, args: readonly string[], options: CommandOptions): Promise<string> {
  const { timeoutMs, signal, path = HOST_PATH, environment } = options;
  const words = `${program} ${args.join(' ')}`;
  return new Promise((resolve, reject) => {
    const env = { PATH: path, LC_ALL: 'C.UTF-8', SYSTEMD_PAGER: '', SYSTEMD_COLORS: '0', ...environment };
    const settings = { timeout: timeoutMs, maxBuffer: MAX_OUTPUT_BYTES, env, ...(signal && { signal }) };
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (signal?.aborted === true) reject(signal.reason);
      else if (isErrno(error, 'ENOENT')) {
        reject(new HoldfastError('PRECONDITION', `${program} is not installed on this host`, { cause: error }));
      } else {
        const last = stderr.trim().split('\n').slice(-3).join(' ');
        const why = error.killed === true ? `did not end within ${timeoutMs / 1000} s` : `failed: ${last}`;
        // The error of node repeats the whole command with its output.
        reject(new HoldfastError('HOST_FAILURE', `${words} ${why}`));
      }
    });
    // A program that ends without reading it says why by itself.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}
