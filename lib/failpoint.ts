// Named points between the steps of a change, where crash tests let the program die. Absent in production.
import { readFile } from 'node:fs/promises';
import { isErrno } from './errors.ts';

/** Called at a point; a test throws, or kills the process. */
export type Failpoint = (name: string) => void | Promise<void>;

/**
 * The variable that names the point at which the process kills itself. Where it is an absolute path, the point's name
 * is in that file, which may come, change and go while the process runs.
 */
export const FAILPOINT_VARIABLE = 'HOLDFAST_FAILPOINT';

/**
 * The failpoint that the environment asks for: the process dies by SIGKILL, as from an out-of-memory kill or a power
 * failure, when it comes to the point of that name.
 * @returns undefined when the environment names none
 */
export function failpointFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Failpoint | undefined {
  const wanted = environment[FAILPOINT_VARIABLE];
  if (wanted === undefined || wanted === '') return undefined;
  return async (name) => {
    if (name !== (wanted.startsWith('/') ? await readPoint(wanted) : wanted)) return;
    process.kill(process.pid, 'SIGKILL');
    // The signal is delivered asynchronously; nothing after this point may run.
    await new Promise(() => undefined);
  };
}

/** undefined while there is no such file. */
async function readPoint(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
