// `holdfast uninstall`: says what would be lost, asks, points the kubelet back, and removes what was installed.
import { Command } from 'commander';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { failpointFromEnvironment } from '../../lib/failpoint.ts';
import { withFileLock } from '../../lib/file-lock.ts';
import { type ConfigPaths, defaultConfig, type LoadedConfig, loadConfig } from '../config/load.ts';
import { executeSteps } from '../install/execute.ts';
import { LAYOUT } from '../install/layout.ts';
import { planUninstall, type UninstallPlan } from '../install/plan-uninstall.ts';
import type { Blocker } from '../install/step.ts';
import { formatSteps, titleOf } from '../install/step-text.ts';
import { confirm } from './confirm.ts';
import {
  factsOf,
  hostActions,
  type InstallHost,
  installLock,
  interruptSignal,
  openInstallHost,
  tracesOf,
} from './install-host.ts';
import { sayLoss } from './uninstall-losses.ts';

interface UninstallCommandOptions {
  readonly yes: boolean;
  readonly keepState: boolean;
  readonly kubeletPointedBack: boolean;
  readonly withoutRuntime: boolean;
  readonly dryRun: boolean;
  readonly root?: string;
}

const LOCK_WAIT_MS = 5_000;

const say = (text: string): void => {
  process.stdout.write(text);
};

async function carryOut(host: InstallHost, plan: UninstallPlan, signal: AbortSignal): Promise<void> {
  const failpoint = failpointFromEnvironment(process.env);
  say('\nDoing it:\n');
  await executeSteps(plan.steps, {
    files: host.files,
    systemd: host.systemd,
    actions: hostActions(host, (text) => say(`  ${text}\n`)),
    program: undefined,
    signal,
    onStep: (step) => say(step.do === 'record' ? '' : `  ${titleOf(step)}\n`),
    onNote: (text) => say(`  Note: ${text}\n`),
    ...(failpoint && { failpoint }),
  });
}

function requireNoBlockers([first]: readonly Blocker[]): void {
  if (first === undefined) return;
  throw new HoldfastError('PRECONDITION', `nothing was changed: ${first.text}; ${first.remedy}`);
}

/** What the configuration says of the runtime is in the manifest too: one that is not valid does not keep us here. */
async function loadConfigOrDefaults(paths?: ConfigPaths): Promise<LoadedConfig> {
  try {
    return await loadConfig(paths);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'INVALID_CONFIG') throw error;
    say(`Note: the configuration is left out of account: ${describeError(error)}\n`);
    return defaultConfig();
  }
}

async function uninstall(options: UninstallCommandOptions): Promise<void> {
  const { keepState, yes, dryRun, root } = options;
  const signal = interruptSignal();
  const host = await openInstallHost(root, loadConfigOrDefaults);
  const facts = await factsOf(host, signal);
  const hasFiles = facts.manifest !== undefined || facts.paths.has(LAYOUT.state);
  const plan = planUninstall(facts, { ...options, traces: await tracesOf(host, signal) });
  const changes = plan.steps.some(({ do: what }) => what !== 'release-cpus' && what !== 'drop-layers');
  if (!hasFiles && !changes) {
    say('Nothing to do: nothing is installed.\n');
    return;
  }
  for (const note of plan.notes) say(`Note: ${note}.\n`);
  say(`This is what will be done, in this order:\n${formatSteps(plan.steps)}`);
  const unanswered = await sayLoss(host, plan, options, signal);
  requireNoBlockers([...plan.blockers, ...(unanswered === undefined || dryRun ? [] : [unanswered])]);
  if (dryRun) {
    say('\nNothing was changed: this was a dry run.\n');
    return;
  }
  if (!yes) await confirm('\nUninstall? Type yes to go on: ', { input: process.stdin, output: process.stdout, signal });
  const lock = await installLock(host);
  await withFileLock(lock, LOCK_WAIT_MS, async () => {
    const last = planUninstall(await factsOf(host, signal), { ...options, traces: await tracesOf(host, signal) });
    requireNoBlockers(last.blockers);
    await carryOut(host, last, signal);
  });
  say(`\nholdfast is uninstalled${keepState ? `; ${LAYOUT.state} and ${LAYOUT.configuration} are kept` : ''}.\n`);
}

export function uninstallCommand(): Command {
  return new Command('uninstall')
    .description('point the kubelet back, stop the services and remove what was installed; containers stay')
    .option('--dry-run', 'show every change, and change nothing', false)
    .option('--keep-state', 'keep layers, records and configuration for a later installation', false)
    .option('--kubelet-pointed-back', 'the kubelet of k3s, RKE2, k0s or MicroK8s does not use the shim any more', false)
    .option('--without-runtime', 'ask the runtime for nothing: its layers stay, and containers stay confined', false)
    .option('--yes', 'do not ask', false)
    .option('--root <directory>', 'uninstall from the tree of an image')
    .action(uninstall);
}
