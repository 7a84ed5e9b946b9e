// Runs a program of the host to its end: only what quickstart needs around the main job, never on the CRI path.
import { execFile } from 'node:child_process';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';

/** Enough for every program that is run here; a hung one is killed. */
const TIMEOUT_MS = 60_000;

/** Debian's users may lack the sbin directories, where runc and containerd's helpers are. */
export function programPath(): string {
  return `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
}

/**
 * @returns standard output
 * @throws HoldfastError PRECONDITION when the program is not installed, HOST_FAILURE with its last words when it fails
 */
export function run(program: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: TIMEOUT_MS, env: { ...process.env, PATH: programPath() }, ...(signal && { signal }) };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (signal?.aborted === true) reject(signal.reason);
      else if (isErrno(error, 'ENOENT')) {
        reject(
          new HoldfastError('PRECONDITION', `${program} is not installed; scripts/set-up installs it`, {
            cause: error,
          }),
        );
      } else {
        const words = stderr.trim().split('\n').slice(-3).join(' ');
        reject(new HoldfastError('HOST_FAILURE', `${program} ${args.join(' ')} failed: ${words}`, { cause: error }));
      }
    });
  });
}
