// The holdfast command: arguments → command → exit code.
import { readFile } from 'node:fs/promises';
import { CommanderError } from 'commander';
import { describeError, HoldfastError } from '../lib/errors.ts';
import { isServiceError } from '../lib/grpc-client.ts';
import { loadCommands } from './cli/commands.ts';
import { holdfastProgram } from './cli/program.ts';

/** package.json is two folders up from the compiled file, and one from the source. */
async function readVersion(): Promise<string> {
  const folder = import.meta.url.endsWith('.ts') ? '../' : '../../';
  const text = await readFile(new URL(`${folder}package.json`, import.meta.url), 'utf8');
  const { version }: { version?: unknown } = JSON.parse(text);
  return typeof version === 'string' ? version : 'unknown';
}

/** One sentence for what was written for people; a stack for what should not have happened. */
function explain(error: unknown): string {
  // What the agent answered is in the message already.
  if (error instanceof HoldfastError && isServiceError(error.cause)) return `${error.message} (${error.code})`;
  if (error instanceof HoldfastError) return `${describeError(error)} (${error.code})`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** @returns the exit code; 2 for wrong arguments, 1 for everything else that failed */
async function main(): Promise<number> {
  const version = await readVersion();
  const program = holdfastProgram(version, await loadCommands(process.argv[2], version));
  try {
    await program.parseAsync();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`holdfast: ${explain(error)}\n`);
    return 1;
  }
}

process.exitCode = await main();
