// Compiles the C launcher with the host's own compiler and puts it in place as a whole: in a directory of its own, tried,
// renamed. A plugin process that runs meanwhile keeps the file that it was started from.
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { runCommand } from './command.ts';
import { askPluginVersions } from './plugin-version.ts';

/** Static programs start sooner and need nothing of the host; position-independent ones are harder to attack. */
export type Linking = 'static-pie' | 'static' | 'dynamic';

export interface Compiler {
  readonly program: string;
  readonly linking: Linking;
}

const PROGRAMS = ['cc', 'gcc', 'clang'];
const LINKINGS: Readonly<Record<Linking, readonly string[]>> = {
  'static-pie': ['-fPIE', '-static-pie'],
  static: ['-static'],
  dynamic: ['-fPIE', '-pie'],
};
const FLAGS = [
  '-std=c11',
  '-O2',
  '-pipe',
  '-fstack-protector-strong',
  '-U_FORTIFY_SOURCE',
  '-D_FORTIFY_SOURCE=2',
  '-Wl,-z,relro,-z,now,-z,noexecstack',
  '-s',
];
const TIMEOUT_MS = 120_000;

async function compile(
  { program, linking }: Compiler,
  source: string,
  mark: string,
  output: string,
  signal: AbortSignal,
): Promise<void> {
  const define = `-DHOLDFAST_MARK=${JSON.stringify(mark)}`;
  const args = [...FLAGS, ...LINKINGS[linking], define, '-o', output, source];
  await runCommand(program, args, { timeoutMs: TIMEOUT_MS, signal });
}

/**
 * Finds a compiler by letting it compile the launcher into a temporary directory, which goes again: one without the C
 * library's headers is of no use.
 * @param source - path of launcher.c
 * @param linkings - those that will do, the best first
 * @returns the first that works, or why none does
 */
export async function findCompiler(
  source: string,
  linkings: readonly Linking[],
  signal: AbortSignal,
): Promise<Compiler | { readonly problem: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-cc-'));
  let problem = `none of ${PROGRAMS.join(', ')} is installed`;
  try {
    for (const program of PROGRAMS) {
      for (const linking of linkings) {
        try {
          await compile({ program, linking }, source, 'a trial', join(directory, 'holdfast'), signal);
          return { program, linking };
        } catch (error) {
          if (signal.aborted || !(error instanceof HoldfastError)) throw error;
          if (error.code === 'PRECONDITION') break;
          // What the last linking says is the least special: a missing header, not a missing static library.
          problem = `${program} does not compile the launcher: ${lastWords(error)}`;
        }
      }
    }
    return { problem };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function lastWords(error: HoldfastError): string {
  const text = describeError(error);
  const at = text.indexOf(' failed: ');
  return at < 0 ? text : text.slice(at + ' failed: '.length);
}

/** Whether a directory beside plugins is what an interrupted attempt left. */
export function isPartialLauncher(name: string): boolean {
  return /^\.holdfast-\d+\.partial$/.test(name);
}

/** Removes what interrupted attempts left. @param directory - of the plugin */
async function removePartialLaunchers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (isPartialLauncher(name)) await rm(join(directory, name), { recursive: true, force: true });
  }
}

/**
 * @param source - path of launcher.c
 * @param mark - what tells later which launcher this is
 * @param target - path of the plugin; its directory is there
 * @throws HoldfastError HOST_FAILURE; then what was at the target is still there
 */
export async function placeLauncher(
  compiler: Compiler,
  source: string,
  mark: string,
  target: string,
  signal: AbortSignal,
): Promise<void> {
  const directory = dirname(target);
  const partial = join(directory, `.holdfast-${process.pid}.partial`);
  const output = join(partial, 'holdfast');
  try {
    await removePartialLaunchers(directory);
    // Nobody else can reach what is not finished.
    await mkdir(partial, { mode: 0o700 });
    await compile(compiler, source, mark, output, signal);
    await chmod(output, 0o755);
    await askPluginVersions(output, signal);
    await using file = await open(output, 'r');
    await file.sync();
    await rename(output, target);
    await using parent = await open(directory, 'r');
    await parent.sync();
  } catch (cause) {
    if (signal.aborted) throw cause;
    const remedy = '--cni-plugin=node places the form that needs no compiler';
    throw new HoldfastError('HOST_FAILURE', `the launcher cannot be placed at ${target}; ${remedy}`, { cause });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}
