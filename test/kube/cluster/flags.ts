// Command lines of the programs of a cluster.
import { createProgram, type Program, type ProgramOptions } from '../../../agent/cli/quickstart/program.ts';

/** Far above what it takes: they start side by side on machines with two CPUs. */
const READY_TIMEOUT_MS = 180_000;

/** Names without dashes. */
export type Flags = Readonly<Record<string, string | number | boolean>>;

/** `--name=value` for each entry. */
export function flags(values: Flags): readonly string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

/** A program that the kernel kills when the process of the test ends, however it does. */
export function boundProgram(executable: string, options: Omit<ProgramOptions, 'executable'>): Program {
  const args = ['--pdeathsig', 'KILL', '--', executable, ...options.args];
  return createProgram({ readyTimeoutMs: READY_TIMEOUT_MS, ...options, executable: 'setpriv', args });
}
