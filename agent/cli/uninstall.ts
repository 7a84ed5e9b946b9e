// `holdfast uninstall`: says what would be lost, asks, points the kubelet back, and removes what was installed.
import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { failpointFromEnvironment } from '../../lib/failpoint.ts';
import { withFileLock } from '../../lib/file-lock.ts';
import { Admin, ListLayersRequestSchema } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { type ConfigPaths, defaultConfig, type LoadedConfig, loadConfig } from '../config/load.ts';
import { listLeasedLayers } from '../install/drop-layers.ts';
import { executeSteps } from '../install/execute.ts';
import { LAYOUT } from '../install/layout.ts';
import { planUninstall, type UninstallPlan } from '../install/plan-uninstall.ts';
import type { Blocker } from '../install/step.ts';
import { formatSteps, titleOf } from '../install/step-text.ts';
import { askAgent } from './ask-agent.ts';
import { confirm } from './confirm.ts';
import {
  factsOf,
  hostActions,
  type InstallHost,
  installLock,
  interruptSignal,
  openInstallHost,
  withRuntime,
} from './install-host.ts';
import { formatTable } from './output.ts';
import { formatLayers } from './reuse.ts';

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

/** The layers that the agent knows, attached ones too; without an agent the leases that the runtime has. */
async function describeLayers(runtimeSocket: string, signal: AbortSignal): Promise<string> {
  try {
    const { layers } = await askAgent(LAYOUT.agentSocket, Admin.method.listLayers, create(ListLayersRequestSchema));
    const leases = await withRuntime(runtimeSocket, (runtime) => listLeasedLayers(runtime, signal));
    return `${formatLayers(layers, Date.now())}${leases.length} leases in the runtime.\n`;
  } catch (error) {
    const leased = await withRuntime(runtimeSocket, (runtime) => listLeasedLayers(runtime, signal));
    const why = `The agent does not say which layers there are (${describeError(error)}); the runtime has these leases:\n`;
    if (leased.length === 0) return `${why}none.\n`;
    const rows = leased.map(({ title, since, lease }) => [title, new Date(since).toISOString(), lease]);
    return `${why}${formatTable(['container', 'kept since', 'lease'], rows)}`;
  }
}

const LOST = [
  'These writable layers would be lost: every one that is "kept" or "superseded" is removed with its lease, and every one',
  'that is "attached" goes with its container: its next attempt begins empty. holdfast reuse export saves one;',
  '--keep-state keeps them all for a later installation.',
].join('\n');
const KEPT = 'These writable layers are kept for a later installation; until then no container gets one:';

const LEFT = [
  'The runtime is not asked for anything: kept layers and their leases stay in it, and running containers keep the CPUs that they',
  'were confined to until they are created again.',
].join('\n');

/** @returns why the runtime does not answer; undefined when it does, or is not needed */
async function sayLoss(
  plan: UninstallPlan,
  { keepState, withoutRuntime }: UninstallCommandOptions,
  signal: AbortSignal,
): Promise<Blocker | undefined> {
  if (withoutRuntime) say(`\n${LEFT}\n`);
  const release = plan.steps.find((step) => step.do === 'release-cpus');
  if (release === undefined) return undefined;
  try {
    const layers = await describeLayers(release.runtime, signal);
    say(`\n${keepState ? KEPT : LOST}\n\n${layers}`);
    return undefined;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'UNAVAILABLE') throw error;
    const text = `no container runtime answers on ${release.runtime}: ${describeError(error)}`;
    say(`\n${keepState ? KEPT : LOST}\n\nWhich these are cannot be said: ${text}.\n`);
    const remedy = 'start it; or say --without-runtime: then its layers stay, and containers stay confined';
    return { text, remedy };
  }
}

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
  const plan = planUninstall(facts, options);
  const changes = plan.steps.some(({ do: what }) => what !== 'release-cpus' && what !== 'drop-layers');
  if (!hasFiles && !changes) {
    say('Nothing to do: nothing is installed.\n');
    return;
  }
  say(`This is what will be done, in this order:\n${formatSteps(plan.steps)}`);
  const unanswered = await sayLoss(plan, options, signal);
  requireNoBlockers([...plan.blockers, ...(unanswered === undefined || dryRun ? [] : [unanswered])]);
  if (dryRun) {
    say('\nNothing was changed: this was a dry run.\n');
    return;
  }
  if (!yes) await confirm('\nUninstall? Type yes to go on: ', { input: process.stdin, output: process.stdout, signal });
  const lock = await installLock(host);
  await withFileLock(lock, LOCK_WAIT_MS, async () => {
    const last = planUninstall(await factsOf(host, signal), options);
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
