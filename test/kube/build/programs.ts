// Runs the programs of a recipe (apt-get, dpkg-deb, go) to their end; what they say is shown only when they fail.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Go alone takes minutes; a hung program must not hold the tests for ever. */
const TIMEOUT_MS = 40 * 60_000;
const LAST_LINES = 30;

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * @returns standard output
 * @throws Error with the program's last words
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  { cwd, env }: RunOptions = {},
): Promise<string> {
  const options = { cwd, env: { ...process.env, ...env }, timeout: TIMEOUT_MS, maxBuffer: 64 << 20 };
  try {
    return (await promisify(execFile)(program, args, options)).stdout;
  } catch (error) {
    const { stdout, stderr } = Object.assign({ stdout: '', stderr: '' }, error);
    const words = `${stdout}\n${stderr}`.trim().split('\n').slice(-LAST_LINES).join('\n');
    throw new Error(`${program} ${args.slice(0, 3).join(' ')} … failed:\n${words}`, { cause: error });
  }
}
