// `holdfast uninstall`: says what would be lost, asks, points the kubelet back, and removes what was installed.
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { failpointFromEnvironment } from '../../lib/failpoint.ts';
import { withFileLock } from '../../lib/file-lock.ts';
import { Admin, ListLayersRequestSchema } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { listLeasedLayers } from '../install/drop-layers.ts';
import { executeSteps } from '../install/execute.ts';
import { LAYOUT } from '../install/layout.ts';
import { planUninstall, type UninstallPlan } from '../install/plan-uninstall.ts';
import { formatSteps, titleOf } from '../install/step-text.ts';
import { askAgent } from './ask-agent.ts';
import {
  factsOf,
  hostActions,
  type InstallHost,
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

async function sayLoss(plan: UninstallPlan, keepState: boolean, signal: AbortSignal): Promise<void> {
  const release = plan.steps.find((step) => step.do === 'release-cpus');
  if (release === undefined) return;
  say(`\n${keepState ? KEPT : LOST}\n\n${await describeLayers(release.runtime, signal)}`);
}

/** @throws HoldfastError PRECONDITION unless a person says yes */
async function confirm(yes: boolean, signal: AbortSignal): Promise<void> {
  if (yes) return;
  if (process.stdin.isTTY !== true) {
    throw new HoldfastError('PRECONDITION', 'nothing was changed: there is no terminal to ask at; say --yes instead');
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await terminal.question('\nUninstall? Type yes to go on: ', { signal });
    if (answer.trim() !== 'yes') throw new HoldfastError('PRECONDITION', 'nothing was changed: the answer was not yes');
  } finally {
    terminal.close();
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
    ...(failpoint && { failpoint }),
  });
}

function requireNoBlockers({ blockers: [first] }: UninstallPlan): void {
  if (first === undefined) return;
  throw new HoldfastError('PRECONDITION', `nothing was changed: ${first.text}; ${first.remedy}`);
}

async function uninstall(options: UninstallCommandOptions): Promise<void> {
  const { keepState, yes, dryRun, root } = options;
  const signal = interruptSignal();
  const host = await openInstallHost(root);
  const facts = await factsOf(host, signal);
  const hasFiles = facts.manifest !== undefined || facts.paths.has(LAYOUT.programs) || facts.paths.has(LAYOUT.state);
  const plan = planUninstall(facts, options);
  const changes = plan.steps.some(({ do: what }) => what !== 'release-cpus' && what !== 'drop-layers');
  if (!hasFiles && !changes) {
    say('Nothing to do: nothing is installed.\n');
    return;
  }
  say(`This is what will be done, in this order:\n${formatSteps(plan.steps)}`);
  await sayLoss(plan, keepState, signal);
  requireNoBlockers(plan);
  if (dryRun) {
    say('\nNothing was changed: this was a dry run.\n');
    return;
  }
  await confirm(yes, signal);
  const lock = host.files.locate(LAYOUT.lock);
  await mkdir(dirname(lock), { recursive: true, mode: 0o700 });
  await withFileLock(lock, LOCK_WAIT_MS, async () => {
    const last = planUninstall(await factsOf(host, signal), options);
    requireNoBlockers(last);
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
    .option('--yes', 'do not ask', false)
    .option('--root <directory>', 'uninstall from the tree of an image')
    .action(uninstall);
}
