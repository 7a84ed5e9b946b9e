// Carries out the steps of a plan in their order. Each can be done again after a crash; a failure ends it, and the next
// install or uninstall goes on from what is then on the host.
import { posix } from 'node:path';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { Failpoint } from '../../lib/failpoint.ts';
import { runCommand } from '../host/command.ts';
import { placeLauncher } from '../host/compile-launcher.ts';
import type { HostFiles } from '../host/host-files.ts';
import { copyProgram } from '../host/program-tree.ts';
import type { Systemd } from '../host/systemd.ts';
import { LAYOUT } from './layout.ts';
import { formatManifest } from './manifest.ts';
import type { Program } from './read-program.ts';
import type { Step } from './step.ts';

/** What the steps do beyond files: each resolves when it is done. */
export interface HostActions {
  agentAnswers(signal: AbortSignal): Promise<void>;
  shimAnswers(signal: AbortSignal): Promise<void>;
  /** @throws HoldfastError when it does not come up, or not with the endpoint */
  kubeletRuns(unit: string, pointed: boolean, signal: AbortSignal): Promise<void>;
  releaseCpus(runtimeSocket: string, signal: AbortSignal): Promise<void>;
  dropLayers(runtimeSocket: string, signal: AbortSignal): Promise<void>;
  clearNetwork(signal: AbortSignal): Promise<void>;
}

export interface ExecuteOptions {
  readonly files: HostFiles;
  /** undefined below a root directory: plans for it have no step that needs it. */
  readonly systemd: Systemd | undefined;
  readonly actions: HostActions;
  /** undefined for plans that copy nothing. */
  readonly program: Program | undefined;
  readonly signal: AbortSignal;
  /** Told before each step. */
  readonly onStep: (step: Step) => void;
  /** Told of a step that failed without being a reason to stop. */
  readonly onNote: (text: string) => void;
  /** For crash tests: passed before the first step (0) and after each. */
  readonly failpoint?: Failpoint;
}

const COMMAND_TIMEOUT_MS = 60_000;
/** 0700: the manifest holds what was in other programs' files. */
export const STATE_MODE = 0o700;
const MANIFEST_MODE = 0o600;

/** Folders of drop-ins, of links and of groups that the last file of ours left empty: to systemd they are as good as absent. */
const EMPTY_FOLDER = /\.(?:service\.d|wants)$|^\/etc\/sysusers\.d$/;

/** A program that is not there is no precondition any more: things were changed. */
async function runProgram(
  { program, args, otherwise }: Extract<Step, { readonly do: 'run' }>,
  { signal, onNote }: ExecuteOptions,
): Promise<void> {
  try {
    await runCommand(program, args, { timeoutMs: COMMAND_TIMEOUT_MS, signal });
  } catch (cause) {
    if (!(cause instanceof HoldfastError) || signal.aborted) throw cause;
    if (otherwise !== undefined) onNote(`${otherwise}: ${describeError(cause)}`);
    else if (cause.code !== 'PRECONDITION') throw cause;
    else throw new HoldfastError('HOST_FAILURE', `the step "${program} ${args.join(' ')}" failed`, { cause });
  }
}

async function perform(step: Step, options: ExecuteOptions): Promise<void> {
  const { files, systemd, actions, program, signal } = options;
  switch (step.do) {
    case 'record':
      await files.makeDirectory(LAYOUT.state, STATE_MODE);
      return await files.write(LAYOUT.manifest, formatManifest(step.manifest), MANIFEST_MODE);
    case 'copy-program':
      if (program === undefined) throw new HoldfastError('BUG', 'there is no program to be copied');
      await files.makeDirectory(LAYOUT.programs, 0o755);
      return await copyProgram(step.from, program.files, await files.locateInside(step.to));
    case 'write':
      return await files.write(step.path, step.text, step.mode);
    case 'link':
      return await files.link(step.path, step.target);
    case 'remove':
      await files.remove(step.path);
      if (EMPTY_FOLDER.test(posix.dirname(step.path))) await files.removeEmpty(posix.dirname(step.path));
      return;
    case 'remove-tree':
      return await files.removeTree(step.path);
    case 'remove-empty':
      return await files.removeEmpty(step.path);
    case 'run':
      if (systemd === undefined) throw new HoldfastError('BUG', `${step.program} must not run for another root`);
      if (step.program === 'systemctl') return await systemd.call(step.args, signal);
      return await runProgram(step, options);
    case 'await-agent':
      return await actions.agentAnswers(signal);
    case 'await-shim':
      return await actions.shimAnswers(signal);
    case 'await-kubelet':
      return await actions.kubeletRuns(step.unit, step.pointed, signal);
    case 'release-cpus':
      return await actions.releaseCpus(step.runtime, signal);
    case 'drop-layers':
      return await actions.dropLayers(step.runtime, signal);
    case 'place-launcher': {
      const source = await files.locateInside(step.source);
      return await placeLauncher(step.compiler, source, step.mark, await files.locateInside(step.path), signal);
    }
    case 'clear-network':
      return await actions.clearNetwork(signal);
  }
}

/**
 * @param first - number of the first step, for failpoints (`install.step.3` is passed after the third)
 * @throws HoldfastError of the step that failed
 */
export async function executeSteps(steps: readonly Step[], options: ExecuteOptions, first = 0): Promise<void> {
  await options.failpoint?.(`install.step.${first}`);
  for (const [index, step] of steps.entries()) {
    options.signal.throwIfAborted();
    options.onStep(step);
    await perform(step, options);
    await options.failpoint?.(`install.step.${first + index + 1}`);
  }
}
