// What `holdfast install`, `uninstall` and `doctor` share: the host opened for them, and how it is waited for.
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { pino } from 'pino';
import { HoldfastError } from '../../lib/errors.ts';
import { Admin, GetStatusRequestSchema } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { configPaths, type LoadedConfig, loadConfig } from '../config/load.ts';
import { type HostFiles, openHostFiles } from '../host/host-files.ts';
import { type HostTree, openHostTree } from '../host/host-tree.ts';
import { type HostTraces, lookAtHostTraces, removeHostTraces } from '../host/network/host-traces.ts';
import { withoutProcesses } from '../host/procfs.ts';
import { isSystemdBooted, openSystemd, type Systemd } from '../host/systemd.ts';
import { dropLeasedLayers } from '../install/drop-layers.ts';
import { type HostActions, STATE_MODE } from '../install/execute.ts';
import type { InstallFacts } from '../install/facts.ts';
import { LAYOUT } from '../install/layout.ts';
import { CLEAR_BY_HAND } from '../install/plan-cni-removal.ts';
import { readInstallFacts } from '../install/read-facts.ts';
import { readKubeletFacts } from '../install/read-kubelet.ts';
import { releaseCpus } from '../install/release-cpus.ts';
import { isHostName } from '../network/plan-link.ts';
import { askCniDirectories } from '../runtime/cni-directories.ts';
import { openRuntime } from '../runtime/containerd.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { askAgent } from './ask-agent.ts';
import { pollUntil } from './quickstart/poll.ts';

export interface InstallHost {
  /** `/`, or the root of an image that is being prepared. */
  readonly root: string;
  readonly files: HostFiles;
  readonly tree: HostTree;
  /** undefined where nothing runs: below a root directory, or without systemd. */
  readonly systemd: Systemd | undefined;
  /** The configuration of that root. */
  readonly loaded: LoadedConfig;
}

/** A slow machine takes a while to start a program; far above what any takes. */
const ANSWER_TIMEOUT_MS = 3 * 60_000;
const KUBELET_TIMEOUT_MS = 3 * 60_000;
const LOOK_MS = 1_000;
/** A kubelet that cannot use its runtime ends within a few seconds. */
const KUBELET_STEADY_MS = 10_000;
/** After so many ends it is given up. */
const MOST_RESTARTS = 3;

/**
 * The folder of the program that this process runs.
 * @throws HoldfastError BUG when it cannot be told
 */
export function programRoot(): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const candidates = ['../..', '../../..'].map((path) => resolve(here, path));
  const found = candidates.find((path) => existsSync(join(path, 'bin', 'holdfast')));
  if (found === undefined) throw new HoldfastError('BUG', `bin/holdfast is not in ${candidates.join(' or ')}`);
  return found;
}

/** By what is there, so that no link and no second mount hides it. One that is absent is told of when it is opened. */
async function isThisMachine(root: string): Promise<boolean> {
  const [ours, other] = await Promise.all(['/', root].map((path) => stat(path).catch(() => undefined)));
  return ours !== undefined && ours.dev === other?.dev && ours.ino === other.ino;
}

/**
 * @param root - undefined for this machine
 * @param load - how the configuration is loaded
 * @throws HoldfastError PRECONDITION where this machine cannot be installed on; INVALID_CONFIG as loadConfig
 */
export async function openInstallHost(root: string | undefined, load = loadConfig): Promise<InstallHost> {
  if (root === undefined) {
    if (process.geteuid?.() !== 0) throw new HoldfastError('PRECONDITION', 'run this as root: it changes the system');
    if (!(await isSystemdBooted())) {
      const remedy = 'start holdfast agent and holdfast cri-shim by other means, or prepare an image with --root';
      throw new HoldfastError('PRECONDITION', `systemd does not run this host; ${remedy}`);
    }
  } else if (await isThisMachine(root)) {
    const why = 'files of a machine that runs would be changed behind its services';
    throw new HoldfastError('PRECONDITION', `--root ${root} is this machine: ${why}; leave --root out`);
  }
  return await openHost(root ?? '/', root === undefined, load);
}

/** As {@link openInstallHost}, to look only: nothing is required of the host. */
export async function openHost(root: string, isLive: boolean, load = loadConfig): Promise<InstallHost> {
  const files = await openHostFiles(root);
  const hasConfig = (await files.look(LAYOUT.config)) !== undefined;
  const paths = isLive ? configPaths() : { ...configPaths(files.locate(LAYOUT.config)), required: hasConfig };
  return {
    root,
    files,
    // /proc of a root directory, where it is mounted, shows the processes of this machine.
    tree: isLive ? await openHostTree(root) : withoutProcesses(await openHostTree(root)),
    systemd: isLive && (await isSystemdBooted()) ? openSystemd() : undefined,
    loaded: await load(paths),
  };
}

/** The file that keeps two installations from working on one root at a time; its directory is made. */
export async function installLock({ files }: InstallHost): Promise<string> {
  await files.makeDirectory(LAYOUT.state, STATE_MODE);
  return await files.locateInside(LAYOUT.lock);
}

/** The socket that the configuration names; undefined when nothing is configured yet. */
export function configuredRuntime({ loaded: { config, files } }: InstallHost): string | undefined {
  return files.length === 0 ? undefined : config.runtime.endpoint;
}

/** What the running runtime says; one that is away or does not say is no reason to stop: its files are read then. */
async function cniDirectoriesOf({ systemd, loaded }: InstallHost, signal: AbortSignal) {
  if (systemd === undefined) return undefined;
  try {
    return await askCniDirectories(loaded.config.runtime.endpoint, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof HoldfastError)) throw error;
    return undefined;
  }
}

export async function factsOf(host: InstallHost, signal: AbortSignal): Promise<InstallFacts> {
  const { files, tree, systemd, loaded } = host;
  const { pools, defaultPool } = loaded.config.network;
  return await readInstallFacts({
    files,
    tree,
    systemd,
    configuredRuntime: configuredRuntime(host),
    pools: Object.keys(pools),
    hasDefaultPool: defaultPool !== undefined,
    cniDirectories: await cniDirectoriesOf(host, signal),
    signal,
  });
}

/** What pods' networks have on this machine; undefined for an image. */
export async function tracesOf({ systemd }: InstallHost, signal: AbortSignal): Promise<HostTraces | undefined> {
  return systemd === undefined ? undefined : await lookAtHostTraces(isHostName, signal);
}

/** Runs work with a runtime that is opened for it. */
export async function withRuntime<Result>(
  socket: string,
  work: (runtime: ContainerRuntime) => Promise<Result>,
): Promise<Result> {
  const runtime = openRuntime({ endpoint: socket, logger: pino({ level: 'silent' }) });
  try {
    return await work(runtime);
  } finally {
    runtime.close();
  }
}

/** @throws HoldfastError UNAVAILABLE when nothing answers */
export async function askRuntimeName(socket: string, signal: AbortSignal) {
  return await withRuntime(socket, async (runtime) => {
    const { name, version } = await runtime.version(signal);
    return { name, version, hasLayers: runtime.layers !== undefined };
  });
}

/**
 * Waits until the service has run with one process for a while, and with the endpoint that it is to have.
 * @throws HoldfastError HOST_FAILURE when systemd gave it up, DEADLINE when it does not stay up
 */
async function kubeletRuns(host: InstallHost, unit: string, pointed: boolean, signal: AbortSignal): Promise<void> {
  const { systemd, tree } = host;
  if (systemd === undefined) throw new HoldfastError('BUG', 'there is no systemd to ask about the kubelet');
  let pid = 0;
  let since = 0;
  const { restarts } = await systemd.stateOf(unit, signal);
  const steady = await pollUntil(
    `${unit} to stay up`,
    KUBELET_TIMEOUT_MS,
    async () => {
      await delay(LOOK_MS, undefined, { signal });
      const state = await systemd.stateOf(unit, signal);
      const runs = state.active === 'active' && state.mainPid > 0;
      if (state.active === 'failed' || state.restarts - restarts >= MOST_RESTARTS) return false;
      if (!runs || state.mainPid !== pid) {
        pid = runs ? state.mainPid : 0;
        since = performance.now();
        return undefined;
      }
      return performance.now() - since >= KUBELET_STEADY_MS ? true : undefined;
    },
    signal,
  );
  if (!steady) throw new HoldfastError('HOST_FAILURE', `${unit} does not stay up; journalctl -u ${unit} says why`);
  const facts = await readKubeletFacts(tree, signal, systemd);
  if (facts?.pid !== undefined && facts.pointed === pointed) return;
  const uses = facts?.pointed === true ? 'still uses the shim' : 'does not use the shim';
  throw new HoldfastError('HOST_FAILURE', `${unit} runs, but ${facts?.pid === undefined ? 'has no kubelet' : uses}`);
}

/** @param onDetail - told what a step has done beyond its title */
export function hostActions(host: InstallHost, onDetail: (text: string) => void): HostActions {
  return {
    agentAnswers: async (signal) => {
      const ask = () => askAgent(LAYOUT.agentSocket, Admin.method.getStatus, create(GetStatusRequestSchema));
      await pollUntil('the agent', ANSWER_TIMEOUT_MS, ask, signal);
    },
    shimAnswers: async (signal) => {
      const ask = () => askRuntimeName(LAYOUT.shimSocket, signal);
      await pollUntil('the runtime behind the shim', ANSWER_TIMEOUT_MS, ask, signal);
    },
    kubeletRuns: (unit, pointed, signal) => kubeletRuns(host, unit, pointed, signal),
    releaseCpus: async (runtimeSocket, signal) => {
      const released = await withRuntime(runtimeSocket, (runtime) =>
        releaseCpus({ runtime, runtimeSocket, tree: host.tree, signal }),
      );
      onDetail(`${released.length} containers have all CPUs again`);
    },
    dropLayers: async (runtimeSocket, signal) => {
      const dropped = await withRuntime(runtimeSocket, (runtime) => dropLeasedLayers(runtime, signal));
      onDetail(`${dropped} kept layers removed`);
    },
    clearNetwork: async (signal) => {
      const { podInterfaces } = await lookAtHostTraces(isHostName, signal);
      if (podInterfaces === 0) await removeHostTraces(signal);
      else onDetail(`not done: ${podInterfaces} pods have got interfaces meanwhile; later, by hand: ${CLEAR_BY_HAND}`);
    },
  };
}

/**
 * Ends waits when a person or systemd asks the command to end, or the terminal goes; what was begun is completed by
 * running it again. From then on the command goes on without whoever read what it prints: a kubelet that was pointed has
 * to be pointed back all the same.
 */
export function interruptSignal(): AbortSignal {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort(new HoldfastError('DEADLINE', 'interrupted; run the command again to complete what was begun'));
  };
  // Of a terminal that goes the kernel tells, and then the shell: the second time must not end what the first began.
  process.once('SIGINT', abort).once('SIGTERM', abort).on('SIGHUP', abort);
  return controller.signal;
}
