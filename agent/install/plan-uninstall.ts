// What uninstalling has to do, by what is found on the host; the manifest adds what was there before. Pure. The kubelet
// goes back first, and the manifest goes last, so that what was interrupted can be finished by running it again.
import type { HostPath } from '../host/host-files.ts';
import type { HostTraces } from '../host/network/host-traces.ts';
import { type InstallFacts, isStopped } from './facts.ts';
import { socketOfEndpoint } from './kubelet-facts.ts';
import { AGENT_UNIT, DEFAULT_UPSTREAM, GROUP, LAYOUT, SHIM_SOCKET_UNIT, SHIM_UNIT, WANTS } from './layout.ts';
import { isAsWritten, type Manifest } from './manifest.ts';
import { planCniRemoval } from './plan-cni-removal.ts';
import { type Blocker, type Step, systemctl } from './step.ts';

export interface UninstallOptions {
  /** /var/lib/holdfast, /etc/holdfast and kept layers stay, so that a later installation goes on with them. */
  readonly keepState: boolean;
  /** Somebody says that a kubelet whose settings cannot be seen does not use the shim (any more). */
  readonly kubeletPointedBack?: boolean;
  /** The runtime is not asked for anything: kept layers stay in it, and containers stay confined. */
  readonly withoutRuntime?: boolean;
  /** What pods' networks have on the host; undefined where nothing runs. */
  readonly traces?: HostTraces | undefined;
}

export interface UninstallPlan {
  readonly blockers: readonly Blocker[];
  readonly steps: readonly Step[];
  /** What people should know, beside the steps. */
  readonly notes: readonly string[];
}

const UNITS = [AGENT_UNIT, SHIM_UNIT, SHIM_SOCKET_UNIT];

/** Removes a file, or puts back what was there before us. */
function takeBack(path: string, facts: InstallFacts): readonly Step[] {
  const found = facts.paths.get(path);
  const known = facts.manifest?.files[path];
  if (known?.before !== undefined) {
    const { text, mode } = known.before;
    if (found?.kind === 'file' && found.text === text && found.mode === mode) return [];
    const before = found?.kind === 'file' ? { before: { text: found.text, mode: found.mode } } : {};
    return [{ do: 'write', path, text, mode, ...before, note: 'as it was before installing' }];
  }
  return remove(path, facts);
}

/** What we wrote ourselves is not worth reading again; what somebody made of it is. */
function remove(path: string, { paths, manifest }: InstallFacts): readonly Step[] {
  const found = paths.get(path);
  const known = manifest?.files[path];
  if (found === undefined || found.kind === 'directory') return [];
  if (found.kind !== 'file') return [{ do: 'remove', path }];
  if (isAsWritten(found.text, known)) {
    return [{ do: 'remove', path, note: 'as it was installed' }];
  }
  const note = known === undefined ? {} : { note: 'was changed since it was installed' };
  return [{ do: 'remove', path, before: found.text, ...note }];
}

function isLinkTo(found: HostPath | undefined, isTarget: (target: string) => boolean): boolean {
  return found?.kind === 'link' && isTarget(found.target);
}

/**
 * The kubelet's own files that are ours: named by the manifest, or found by their fixed names. They are only ever removed: what
 * an earlier manifest says was there before may be one of ours.
 */
function kubeletFiles(facts: InstallFacts, manifest: Manifest | undefined): readonly string[] {
  const known = manifest?.kubelet?.file;
  const found = [...facts.paths.keys()].filter((path) => path.endsWith('/99-holdfast.conf'));
  return [...new Set([...(known === undefined ? [] : [known]), ...found])];
}

/** Why the kubelet would be left without a runtime: it was pointed by somebody else, who alone can point it back. */
function kubeletBlocker(
  { kubelet, manifest }: InstallFacts,
  isOursToPointBack: boolean,
  { kubeletPointedBack = false }: UninstallOptions,
): Blocker | undefined {
  if (kubelet === undefined) return undefined;
  const runtime = `unix://${manifest?.upstream ?? DEFAULT_UPSTREAM}`;
  const isByOthers = socketOfEndpoint(kubelet.endpoint) === LAYOUT.shimSocket;
  if (isByOthers || (kubelet.pointed && !isOursToPointBack)) {
    return {
      text: 'the kubelet was pointed at the shim by other means than holdfast install: without the shim it would have no runtime',
      remedy: `set its --container-runtime-endpoint or containerRuntimeEndpoint back to the runtime (${runtime}) and restart it first`,
    };
  }
  if (kubelet.embedded === undefined || kubeletPointedBack) return undefined;
  return {
    text: `the kubelet is part of ${kubelet.embedded}, and whether it uses the shim cannot be seen: if so it would have no runtime`,
    remedy: `see that its settings do not name ${LAYOUT.shimSocket}, restart ${kubelet.embedded}, and say --kubelet-pointed-back`,
  };
}

function planKubeletBack(facts: InstallFacts, options: UninstallOptions): Pick<UninstallPlan, 'blockers' | 'steps'> {
  const { kubelet, manifest, isLive } = facts;
  const removals = kubeletFiles(facts, manifest).flatMap((path) => remove(path, facts));
  // Its file is gone already, but it may not have been started again since.
  const wasInterrupted = manifest !== undefined && manifest.phase !== 'done' && manifest.kubelet !== undefined;
  const blocker = kubeletBlocker(facts, removals.length > 0 || wasInterrupted, options);
  if (blocker !== undefined) return { blockers: [blocker], steps: [] };
  if (!isLive) return { blockers: [], steps: removals };
  const unit = kubelet?.unit?.name ?? manifest?.kubelet?.unit;
  const restarts =
    kubelet?.pid !== undefined && unit !== undefined && (removals.length > 0 || kubelet.pointed || wasInterrupted);
  const reload = removals.length > 0 || restarts ? [systemctl('daemon-reload')] : [];
  if (!restarts) return { blockers: [], steps: [...removals, ...reload] };
  return {
    blockers: [],
    steps: [...removals, ...reload, systemctl('restart', unit), { do: 'await-kubelet', unit, pointed: false }],
  };
}

function planServices(facts: InstallFacts, upstream: string, options: UninstallOptions): readonly Step[] {
  const { keepState, withoutRuntime = false } = options;
  if (!facts.isLive) return [];
  // The socket first: it would start the shim again.
  const shim = [SHIM_SOCKET_UNIT, SHIM_UNIT].filter((unit) => !isStopped(facts.services.get(unit)));
  const mustStopAgent = !isStopped(facts.services.get(AGENT_UNIT));
  const { kubelet } = facts;
  // It hands out CPUs itself and says so again at its start; by then nobody else does.
  const repeats: readonly Step[] =
    kubelet?.pid !== undefined && kubelet.unit !== undefined && kubelet.cpuManagerPolicy === 'static'
      ? [systemctl('restart', kubelet.unit.name)]
      : [];
  return [
    ...(mustStopAgent ? [systemctl('stop', AGENT_UNIT)] : []),
    ...(shim.length > 0 ? [systemctl('stop', ...shim)] : []),
    ...(withoutRuntime ? [] : [{ do: 'release-cpus', runtime: upstream } as const]),
    ...repeats,
    ...(keepState || withoutRuntime ? [] : [{ do: 'drop-layers', runtime: upstream } as const]),
  ];
}

function planUnits(facts: InstallFacts): readonly Step[] {
  const links = Object.keys(WANTS).filter((path) => facts.paths.has(path));
  const units = UNITS.flatMap((name) => takeBack(`${LAYOUT.units}/${name}`, facts));
  const steps: readonly Step[] = [...links.map((path): Step => ({ do: 'remove', path })), ...units];
  // Of what was interrupted nobody knows whether systemd has read it.
  const reloads = facts.isLive && (steps.length > 0 || facts.manifest?.phase === 'uninstalling');
  return reloads ? [...steps, systemctl('daemon-reload')] : steps;
}

function planGroup(facts: InstallFacts): readonly Step[] {
  const file = takeBack(LAYOUT.sysusers, facts);
  const goes = facts.isLive && facts.hasGroup && facts.manifest?.madeGroup === true;
  // Somebody may have made it the primary group of a user.
  const otherwise = `the group ${GROUP} stays`;
  return goes ? [...file, { do: 'run', program: 'groupdel', args: [GROUP], otherwise }] : file;
}

function planTrees(facts: InstallFacts, keepState: boolean): readonly Step[] {
  const isThere = (path: string): boolean => facts.paths.get(path)?.kind === 'directory';
  const isEdited = facts.paths.get(LAYOUT.config)?.kind === 'file';
  const configuration: Step = {
    do: 'remove-tree',
    path: LAYOUT.configuration,
    ...(isEdited ? { note: 'the configuration' } : {}),
  };
  const records: Step = { do: 'remove-tree', path: LAYOUT.state, note: "the agent's records" };
  const state: readonly Step[] = keepState
    ? [LAYOUT.lock, LAYOUT.manifest].filter((path) => facts.paths.has(path)).map((path) => ({ do: 'remove', path }))
    : isThere(LAYOUT.state)
      ? [records]
      : [];
  const isOurCommand = isLinkTo(facts.paths.get(LAYOUT.command), (target) => target.startsWith(`${LAYOUT.programs}/`));
  return [
    ...(facts.isLive && isThere(LAYOUT.run) ? [{ do: 'remove-tree', path: LAYOUT.run, note: 'sockets' } as const] : []),
    ...(!keepState && isThere(LAYOUT.configuration) ? [configuration] : []),
    ...(isOurCommand ? [takeLinkBack(LAYOUT.command, facts)] : []),
    ...planPrograms(facts),
    // At last, because the manifest is in it: it names the runtime, for whoever has to finish this.
    ...state,
  ];
}

/** Removes a link, or has it lead where it led before us. */
function takeLinkBack(path: string, { paths, manifest }: InstallFacts): Step {
  const target = manifest?.links?.[path];
  const found = paths.get(path);
  if (target === undefined) return { do: 'remove', path };
  return { do: 'link', path, target, ...(found?.kind === 'link' ? { before: found.target } : {}) };
}

/** What of /opt/holdfast is ours; what people put there stays, and is named. */
function planPrograms({ paths, programs, unfinished, foreign }: InstallFacts): readonly Step[] {
  if (paths.get(LAYOUT.programs)?.kind !== 'directory') return [];
  const ours: readonly Step[] = [
    ...(paths.get(LAYOUT.current)?.kind === 'link' ? [{ do: 'remove', path: LAYOUT.current } as const] : []),
    ...[...unfinished, ...programs].map(
      (name) => ({ do: 'remove-tree', path: `${LAYOUT.programs}/${name}`, note: 'the program' }) as const,
    ),
  ];
  if (foreign.length > 0 && ours.length === 0) return [];
  const note = foreign.length === 0 ? {} : { note: `it stays, with what is not ours: ${foreign.join(', ')}` };
  return [...ours, { do: 'remove-empty', path: LAYOUT.programs, ...note }];
}

/** The runtime that the kubelet uses without us. */
function runtimeOfKubelet({ kubelet }: InstallFacts): string | undefined {
  const socket = kubelet === undefined ? undefined : socketOfEndpoint(kubelet.endpoint);
  return socket === LAYOUT.shimSocket ? undefined : socket;
}

export function planUninstall(facts: InstallFacts, options: UninstallOptions): UninstallPlan {
  const { manifest, configuredRuntime } = facts;
  const configured = configuredRuntime === undefined ? undefined : socketOfEndpoint(configuredRuntime);
  const upstream = manifest?.upstream ?? configured ?? runtimeOfKubelet(facts) ?? DEFAULT_UPSTREAM;
  const kubelet = planKubeletBack(facts, options);
  const cni = planCniRemoval(facts, options.traces);
  const steps = [
    ...kubelet.steps,
    ...cni.network,
    ...planServices(facts, upstream, options),
    ...planUnits(facts),
    ...planGroup(facts),
    ...cni.plugin,
    ...cni.kernel,
    ...planTrees(facts, options.keepState),
  ];
  const record: readonly Step[] =
    manifest === undefined || steps.length === 0
      ? []
      : [{ do: 'record', manifest: { ...manifest, phase: 'uninstalling' } }];
  return { blockers: kubelet.blockers, steps: [...record, ...steps], notes: cni.notes };
}
