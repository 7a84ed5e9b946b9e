// `holdfast install`: puts the program, its units and the kubelet's pointer in place, or brings them up to date.
import { Command, InvalidArgumentError, Option } from 'commander';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { failpointFromEnvironment } from '../../lib/failpoint.ts';
import { withFileLock } from '../../lib/file-lock.ts';
import { runCommand } from '../host/command.ts';
import { type ExecuteOptions, executeSteps } from '../install/execute.ts';
import type { InstallFacts } from '../install/facts.ts';
import { LAYOUT } from '../install/layout.ts';
import type { CniOptions, PluginChoice } from '../install/plan-cni.ts';
import { type InstallPlan, isNothingToDo, planInstall, stepsOf } from '../install/plan-install.ts';
import { withCompiler } from '../install/probe-compiler.ts';
import { isIntact, type Program, readProgram } from '../install/read-program.ts';
import type { Blocker, Step } from '../install/step.ts';
import { formatSteps, titleOf } from '../install/step-text.ts';
import type { CniMode } from '../install/wanted-cni.ts';
import { isCniName } from '../network/cni/parse-environment.ts';
import { diagnose, formatFindings } from './doctor.ts';
import { blockersOfFindings, checkNodeVersion, warningsOfFindings } from './doctor-checks/prerequisites.ts';
import {
  askRuntimeName,
  factsOf,
  hostActions,
  type InstallHost,
  installLock,
  interruptSignal,
  openInstallHost,
  programRoot,
} from './install-host.ts';

interface InstallCommandOptions {
  readonly dryRun: boolean;
  readonly root?: string;
  readonly kubelet: boolean;
  readonly overwrite: boolean;
  readonly cniPlugin?: Exclude<PluginChoice, 'auto'>;
  readonly cniNetwork?: string;
  readonly cniMode?: CniMode;
}

const LOCK_WAIT_MS = 5_000;
/** Slow machines take minutes; what hangs ends the command all the same. */
const DIAGNOSIS_TIMEOUT_MS = 5 * 60_000;
const NODE_TIMEOUT_MS = 60_000;

const say = (text: string): void => {
  process.stdout.write(text);
};

/** What of the host itself stands in the way, beside the plan. */
async function hostBlockers(host: InstallHost, plan: InstallPlan, signal: AbortSignal): Promise<readonly Blocker[]> {
  const { run } = host.loaded.config.paths;
  const otherRun =
    run === LAYOUT.run
      ? []
      : [
          {
            text: `paths.run is ${run}; the units serve ${LAYOUT.run}`,
            remedy: `take paths.run out of ${LAYOUT.config}`,
          },
        ];
  if (host.systemd === undefined) return otherRun;
  const node = await runCommand('node', ['--version'], { timeoutMs: NODE_TIMEOUT_MS, signal }).catch(() => undefined);
  const findings = await diagnose(undefined, AbortSignal.any([signal, AbortSignal.timeout(DIAGNOSIS_TIMEOUT_MS)]));
  const warnings = warningsOfFindings(findings);
  if (warnings.length > 0) say(`Before installing:\n${formatFindings(warnings)}\n`);
  return [
    ...otherRun,
    ...checkNodeVersion(node),
    ...blockersOfFindings(findings),
    ...(await runtimeBlocker(plan, signal)),
  ];
}

/** The runtime behind the shim must answer: the plan waits until it does. */
async function runtimeBlocker(plan: InstallPlan, signal: AbortSignal): Promise<readonly Blocker[]> {
  const record = plan.steps.find((step) => step.do === 'record');
  if (record === undefined || !stepsOf(plan).some((step) => step.do === 'await-shim')) return [];
  const { upstream } = record.manifest;
  try {
    await askRuntimeName(upstream, signal);
    return [];
  } catch (error) {
    const remedy = 'start the container runtime, or set runtime.endpoint where it is another one';
    return [{ text: `no container runtime answers on ${upstream}: ${describeError(error)}`, remedy }];
  }
}

function requireNoBlockers(blockers: readonly Blocker[]): void {
  if (blockers.length === 0) return;
  const lines = blockers.map(({ text, remedy }) => `FAILED   ${text}\n         → ${remedy}\n`);
  process.stderr.write(`This stands in the way:\n${lines.join('')}`);
  const [first] = blockers;
  throw new HoldfastError('PRECONDITION', `nothing was changed: ${first?.text ?? ''}`);
}

/** @returns false when there was nothing to do */
async function show(host: InstallHost, plan: InstallPlan, signal: AbortSignal): Promise<boolean> {
  for (const note of plan.notes) say(`Note: ${note}.\n`);
  if (isNothingToDo(plan) && plan.blockers.length === 0) {
    say('Nothing to do: it is installed as it should be.\n');
    return false;
  }
  const blockers = [...plan.blockers, ...(await hostBlockers(host, plan, signal))];
  say(`This is what will be done, in this order:\n${formatSteps(stepsOf(plan))}`);
  requireNoBlockers(blockers);
  return true;
}

/** What people are told when a part of the plan is taken back. */
interface UndoTexts {
  readonly begins: string;
  readonly done: string;
  readonly failed: string;
}

const START: UndoTexts = {
  begins: 'The new version does not come up',
  done: 'the new version did not come up, and the one before is in use again',
  failed:
    'neither the new version nor the one before comes up; journalctl -u holdfast-agent -u holdfast-cri-shim says why, and docs/install.md how the kubelet is pointed back by hand',
};
const POINT: UndoTexts = {
  begins: 'The kubelet does not come up with the shim',
  done: 'the kubelet did not come up with the shim and uses the runtime again, as before; the agent and the shim are installed and run',
  failed:
    'the kubelet could be pointed neither at the shim nor back; remove what the plan wrote for the kubelet by hand (docs/install.md) and restart it',
};

/** Carries out a part of the plan, and takes it back when it fails. */
async function executeOrUndo(
  { steps, undo }: InstallPlan['pointing'],
  texts: UndoTexts,
  options: ExecuteOptions,
  first: number,
): Promise<void> {
  try {
    await executeSteps(steps, options, first);
  } catch (cause) {
    if (undo.length === 0) throw cause;
    process.stderr.write(`${texts.begins}: ${describeError(cause)}\nTaking it back:\n`);
    try {
      // Whatever interrupted the steps must not interrupt this.
      await executeSteps(undo, { ...options, signal: new AbortController().signal });
    } catch (error) {
      throw new HoldfastError('HOST_FAILURE', `${texts.failed}: ${describeError(error)}`, { cause });
    }
    throw new HoldfastError('HOST_FAILURE', texts.done, { cause });
  }
}

async function carryOut(host: InstallHost, plan: InstallPlan, program: Program, signal: AbortSignal): Promise<void> {
  const failpoint = failpointFromEnvironment(process.env);
  const options: ExecuteOptions = {
    files: host.files,
    systemd: host.systemd,
    actions: hostActions(host, (text) => say(`  ${text}\n`)),
    program,
    signal,
    onStep: (step: Step) => say(step.do === 'record' ? '' : `  ${titleOf(step)}\n`),
    onNote: (text) => say(`  Note: ${text}\n`),
    ...(failpoint && { failpoint }),
  };
  say('\nDoing it:\n');
  await executeSteps(plan.steps, options);
  const { steps, starting, pointing, finish } = plan;
  await executeOrUndo(starting, START, options, steps.length);
  await executeOrUndo(pointing, POINT, options, steps.length + starting.steps.length);
  await executeSteps(finish, options, steps.length + starting.steps.length + pointing.steps.length);
}

function cniOptionsOf({ cniPlugin, cniNetwork, cniMode }: InstallCommandOptions): CniOptions {
  if (cniMode !== undefined && cniNetwork === undefined) {
    throw new HoldfastError('INVALID_REQUEST', '--cni-mode is of a network: name it with --cni-network=<name>');
  }
  return {
    ...(cniPlugin && { plugin: cniPlugin }),
    ...(cniNetwork && { network: { name: cniNetwork, mode: cniMode ?? 'bridge' } }),
  };
}

function parseNetworkName(text: string): string {
  if (isCniName(text)) return text;
  throw new InvalidArgumentError(
    `"${text}" is no name for a network: letters, digits, "_", "." and "-", the first a letter or digit.`,
  );
}

async function makePlan(
  facts: InstallFacts,
  program: Program,
  host: InstallHost,
  options: InstallCommandOptions,
  signal: AbortSignal,
): Promise<InstallPlan> {
  const isThere = facts.programs.includes(program.target.slice(LAYOUT.programs.length + 1));
  const isSound = isThere && (await isIntact(host.files.locate(program.target), program));
  const { kubelet, overwrite } = options;
  const cni = await withCompiler(cniOptionsOf(options), facts, program, signal);
  return planInstall(facts, { ...program, isThere: isSound }, { kubelet, overwrite, cni });
}

async function install(options: InstallCommandOptions): Promise<void> {
  const signal = interruptSignal();
  const host = await openInstallHost(options.root);
  const program = await readProgram(programRoot());
  const plan = async (): Promise<InstallPlan> => makePlan(await factsOf(host, signal), program, host, options, signal);
  if (options.dryRun) {
    if (await show(host, await plan(), signal)) say('\nNothing was changed: this was a dry run.\n');
    return;
  }
  const first = await plan();
  // What stands in the way is said before anything is made, the lock too.
  if (!(await show(host, first, signal))) return;
  const lock = await installLock(host);
  const isDone = await withFileLock(lock, LOCK_WAIT_MS, async () => {
    const last = await plan();
    const isAsShown = last.blockers.length === 0 && formatSteps(stepsOf(last)) === formatSteps(stepsOf(first));
    if (!isAsShown && !(await show(host, last, signal))) return false;
    await carryOut(host, last, program, signal);
    return true;
  });
  if (isDone) await sayResult(host, program, signal);
}

async function sayResult(host: InstallHost, { version, target }: Program, signal: AbortSignal): Promise<void> {
  say(`\nholdfast ${version} is installed (${target}).\n`);
  if (host.systemd === undefined) return;
  const findings = await diagnose(undefined, AbortSignal.any([signal, AbortSignal.timeout(DIAGNOSIS_TIMEOUT_MS)]));
  say(`\n${formatFindings(findings)}`);
  if (findings.some(({ level }) => level === 'failed')) process.exitCode = 1;
}

export function installCommand(): Command {
  return new Command('install')
    .description(
      'install this program as services of systemd and point the kubelet at it, or upgrade what is installed',
    )
    .option('--dry-run', 'show every change, and change nothing', false)
    .option('--no-kubelet', 'leave the kubelet alone')
    .option('--overwrite', 'replace files that are there already or were changed since they were installed', false)
    .addOption(
      new Option('--cni-plugin <form>', 'of the CNI plugin, where the configuration has pools').choices([
        'launcher',
        'node',
        'none',
      ]),
    )
    .addOption(
      new Option('--cni-network <name>', "make a network of Holdfast's the one of the node's new pods").argParser(
        parseNetworkName,
      ),
    )
    .addOption(new Option('--cni-mode <mode>', 'of that network (default: "bridge")').choices(['bridge', 'routed']))
    .option('--root <directory>', 'install into the tree of an image; nothing is started')
    .action(install);
}
