// What is lost by uninstalling, said before it is asked for: writable layers, and the addresses of pods.
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { Admin, ListLayersRequestSchema, ShowStateRequestSchema } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { listLeasedLayers } from '../install/drop-layers.ts';
import { LAYOUT } from '../install/layout.ts';
import type { UninstallPlan } from '../install/plan-uninstall.ts';
import type { Blocker } from '../install/step.ts';
import { type AddressCounts, countAddresses, NO_ADDRESSES } from '../network/count-addresses.ts';
import { ADDRESSES } from '../network/embedded-lease-store.ts';
import { inspectStore } from '../state/inspect.ts';
import { askAgent } from './ask-agent.ts';
import { type InstallHost, withRuntime } from './install-host.ts';
import { formatTable } from './output.ts';
import { formatLayers } from './reuse.ts';

export interface LossOptions {
  readonly keepState: boolean;
  readonly withoutRuntime: boolean;
}

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
async function sayLayers(
  plan: UninstallPlan,
  { keepState, withoutRuntime }: LossOptions,
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

const recordsSchema = z.record(z.string(), z.record(z.string(), z.unknown()));

/** All that the agent has on record; undefined where none answers. */
async function askRecords() {
  try {
    const { json } = await askAgent(LAYOUT.agentSocket, Admin.method.showState, create(ShowStateRequestSchema));
    return recordsSchema.parse(JSON.parse(json));
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') return undefined;
    throw error;
  }
}

/** By the agent, also one without pools; else by its store, which an image may have, too. */
export async function readAddresses({ files, systemd }: InstallHost): Promise<AddressCounts> {
  const records = systemd === undefined ? undefined : await askRecords();
  if (records !== undefined) return countAddresses(records[ADDRESSES.name] ?? {});
  try {
    const stopped = await inspectStore(files.locate(`${LAYOUT.state}/state`));
    return countAddresses(stopped.records[ADDRESSES.name] ?? {});
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'NOT_FOUND') return NO_ADDRESSES;
    throw error;
  }
}

/** What people read; the empty text where there is nothing to be lost. */
export function formatAddressLoss({ held, kept, reserved, reserves }: AddressCounts, keepState: boolean): string {
  if (held + kept + reserved === 0) return '';
  const what = [
    `${held} ${held === 1 ? 'address' : 'addresses'} that sandboxes have`,
    `${kept} that ${kept === 1 ? 'waits' : 'wait'} for pods of their names`,
    `${reserved} in the ${reserves === 1 ? 'reserve of 1 app' : `reserves of ${reserves} apps`}`,
  ].join(', ');
  const whose = 'holdfast ip ls shows whose they are while the agent runs';
  return keepState
    ? `These addresses are kept for a later installation: ${what}.\n`
    : `What is on record about these addresses would be lost: ${what}. No pod gets its own back;\n${whose}. --keep-state keeps the records.\n`;
}

async function sayAddresses(host: InstallHost, { keepState }: LossOptions): Promise<void> {
  let text: string;
  try {
    text = formatAddressLoss(await readAddresses(host), keepState);
  } catch (error) {
    // Whoever uninstalls what is damaged must not be kept from it by that.
    if (!(error instanceof HoldfastError)) throw error;
    text = `How many addresses of pods are on record cannot be said: ${describeError(error)}.\n`;
  }
  if (text !== '') say(`\n${text}`);
}

/** @returns why it cannot be said; undefined when it was, or nothing is lost */
export async function sayLoss(
  host: InstallHost,
  plan: UninstallPlan,
  options: LossOptions,
  signal: AbortSignal,
): Promise<Blocker | undefined> {
  await sayAddresses(host, options);
  return await sayLayers(plan, options, signal);
}
