// Programs of this host that make disks: run to their end, with their last words when they fail.
import { execFile } from 'node:child_process';
import { programPath } from '../../../agent/cli/quickstart/command.ts';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';

const TIMEOUT_MS = 10 * 60_000;

/**
 * @returns standard output
 * @throws HoldfastError PRECONDITION when it is not installed, HOST_FAILURE with what it said when it fails
 */
export function runTool(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: programPath(), NODE_OPTIONS: '' };
    execFile(program, args, { timeout: TIMEOUT_MS, env }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (isErrno(error, 'ENOENT')) {
        reject(
          new HoldfastError('PRECONDITION', `${program} is not installed; npm test installs it`, { cause: error }),
        );
      } else {
        const words = stderr.trim().split('\n').slice(-5).join('\n');
        reject(new HoldfastError('HOST_FAILURE', `${program} ${args.join(' ')} failed: ${words}`, { cause: error }));
      }
    });
  });
}

/** A shell script with its arguments as $1, $2, …; nothing of theirs is read as code. */
export function runShell(script: string, ...args: readonly string[]): Promise<string> {
  return runTool('sh', ['-c', `set -e; ${script}`, 'sh', ...args]);
}
