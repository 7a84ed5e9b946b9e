// Processes of this host as /proc shows them: told apart by their start time, found by their arguments.
import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { isErrno } from '../../../lib/errors.ts';

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot (proc(5), stat, field 22). */
  readonly startTicks: number;
}

async function readOrGone(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

/** undefined when there is no such process, or only its unreaped remains. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readOrGone(`/proc/${pid}/stat`);
  // The name of the program is in parentheses and may hold anything, parentheses and blanks too.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTicks = Number(fields?.[19]);
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X' || !Number.isSafeInteger(startTicks))
    return undefined;
  return { pid, startTicks };
}

export async function isAlive({ pid, startTicks }: ProcessIdentity): Promise<boolean> {
  return (await identify(pid))?.startTicks === startTicks;
}

/** Processes of a program whose name matches and that have `path`, or something below it, among their arguments. */
export async function findProcesses(program: RegExp, path: string): Promise<readonly ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const args = (await readOrGone(`/proc/${name}/cmdline`))?.split('\0') ?? [];
    const concerned = args.some((argument) => argument === path || argument.startsWith(`${path}/`));
    if (!concerned || !program.test(basename(args[0] ?? ''))) continue;
    const identity = await identify(Number(name));
    if (identity !== undefined) found.push(identity);
  }
  return found;
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/** Whether this process has a capability (linux/capability.h) in effect. */
export async function hasCapability(bit: number): Promise<boolean> {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> BigInt(bit)) & 1n) === 1n;
}
