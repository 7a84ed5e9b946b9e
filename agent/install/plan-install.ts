// What installing, upgrading and completing an interrupted installation have to do: the difference between what is there
// and what is to be. Pure; the same host gives the same plan, and a finished one an empty plan.
import { posix } from 'node:path';
import { type InstallFacts, isActive, isStopped } from './facts.ts';
import { socketOfEndpoint } from './kubelet-facts.ts';
import { AGENT_UNIT, DEFAULT_UPSTREAM, LAYOUT, SHIM_SOCKET_UNIT, SHIM_UNIT } from './layout.ts';
import { concluded, MANIFEST_HEAD, type Manifest } from './manifest.ts';
import { type CniOptions, type CniPlan, planCni } from './plan-cni.ts';
import { type FilePlan, isForeignLink, planFiles, planLink, type WantedFile } from './plan-files.ts';
import { isMadeByUs, type KubeletPlan, planKubelet } from './plan-kubelet.ts';
import { planWayBack } from './plan-way-back.ts';
import { type Blocker, type Step, systemctl } from './step.ts';
import { firstConfig, wantedLinks, wantedUnits } from './wanted.ts';

export interface InstallOptions {
  readonly kubelet: boolean;
  readonly overwrite: boolean;
  readonly cni?: CniOptions;
}

/** The program that is to be installed. */
export interface WantedProgram {
  readonly root: string;
  readonly target: string;
  readonly units: ReadonlyMap<string, string>;
  /** Of its CNI plugin's launcher; undefined for a program without one. */
  readonly launcherMark?: string;
  /** The target is there, complete and unchanged. */
  readonly isThere: boolean;
}

export interface InstallPlan {
  readonly blockers: readonly Blocker[];
  /** What people should know, beside the steps. */
  readonly notes: readonly string[];
  /** Puts everything in its place. */
  readonly steps: readonly Step[];
  /** Up to a shim that answers, and how an upgrade that does not come up is taken back. */
  readonly starting: { readonly steps: readonly Step[]; readonly undo: readonly Step[] };
  /** Points the kubelet at it, and how that is taken back when the kubelet does not come up. */
  readonly pointing: { readonly steps: readonly Step[]; readonly undo: readonly Step[] };
  /** Once all of it runs. */
  readonly finish: readonly Step[];
}

/** Every step in its order. */
export function stepsOf({ steps, starting, pointing, finish }: InstallPlan): readonly Step[] {
  return [...steps, ...starting.steps, ...pointing.steps, ...finish];
}

export function isNothingToDo(plan: InstallPlan): boolean {
  return stepsOf(plan).length === 0;
}

function planUpstream(
  kubelet: KubeletPlan,
  { configuredRuntime, manifest }: InstallFacts,
): { readonly upstream: string; readonly blockers: readonly Blocker[] } {
  const configured = configuredRuntime === undefined ? undefined : socketOfEndpoint(configuredRuntime);
  if (kubelet.kind !== 'point') {
    return { upstream: configured ?? manifest?.upstream ?? DEFAULT_UPSTREAM, blockers: [] };
  }
  if (configured === undefined || configured === kubelet.upstream) return { upstream: kubelet.upstream, blockers: [] };
  const blocker = {
    text: `runtime.endpoint is ${configured} in the configuration, and the kubelet's runtime is on ${kubelet.upstream}`,
    remedy: `set runtime.endpoint: ${kubelet.upstream} in ${LAYOUT.config}`,
  };
  return { upstream: kubelet.upstream, blockers: [blocker] };
}

/** The kubelet's file was there and is to be another one: also where only its name and its head tell of it. */
function strayKubeletFiles({ manifest, paths }: InstallFacts, wanted: string): readonly Step[] {
  return [...paths].flatMap(([path, found]): readonly Step[] => {
    if (path === wanted || found.kind !== 'file') return [];
    const isOurs = path === manifest?.kubelet?.file || (path.endsWith('/99-holdfast.conf') && isMadeByUs(found.text));
    return isOurs ? [{ do: 'remove', path, before: found.text }] : [];
  });
}

function planPointing(facts: InstallFacts, plan: KubeletPlan, file: FilePlan | undefined): InstallPlan['pointing'] {
  if (plan.kind !== 'point' || file === undefined) return { steps: [], undo: [] };
  const strays = strayKubeletFiles(facts, plan.file.path);
  const changes = [...strays, ...file.steps];
  const isInterrupted = facts.manifest !== undefined && facts.manifest.phase !== 'done';
  const isRunning = facts.kubelet?.pid !== undefined;
  const restarts = isRunning && (changes.length > 0 || facts.kubelet?.pointed !== true || isInterrupted);
  const isUnitChanged = plan.isUnitFile || strays.some((step) => 'path' in step && step.path.startsWith(LAYOUT.units));
  // Of what was interrupted nobody knows whether systemd has read it.
  const reload = isUnitChanged || isInterrupted ? [systemctl('daemon-reload')] : [];
  const restart = (pointed: boolean): readonly Step[] => [
    systemctl('restart', plan.unit),
    { do: 'await-kubelet', unit: plan.unit, pointed },
  ];
  if (!facts.isLive) return { steps: changes, undo: [] };
  if (!restarts) return { steps: changes.length > 0 ? [...changes, ...reload] : [], undo: [] };
  return {
    steps: [...changes, ...reload, ...restart(true)],
    undo: [{ do: 'remove', path: plan.file.path, before: plan.file.text }, ...reload, ...restart(false)],
  };
}

/**
 * Agent first, so that a new shim never asks an agent that does not know its questions. The socket is never restarted:
 * connections wait in it meanwhile.
 */
function planServices(facts: InstallFacts, program: WantedProgram, changed: boolean): readonly Step[] {
  if (!facts.isLive) return [];
  const begin = (unit: string): readonly Step[] => {
    const service = facts.services.get(unit);
    if (isStopped(service)) return [systemctl('start', unit)];
    const isOld = service?.program !== undefined && service.program !== program.target;
    if (changed || isOld) return [systemctl('restart', unit)];
    // A start joins the one that is under way.
    return isActive(service) ? [] : [systemctl('start', unit)];
  };
  const agent = begin(AGENT_UNIT);
  const socket = isActive(facts.services.get(SHIM_SOCKET_UNIT)) ? [] : [systemctl('start', SHIM_SOCKET_UNIT)];
  const shim = begin(SHIM_UNIT);
  return [
    ...agent,
    ...(agent.length > 0 ? [{ do: 'await-agent' } as const] : []),
    ...socket,
    ...shim,
    ...(shim.length > 0 ? [{ do: 'await-shim' } as const] : []),
  ];
}

/** Before anything leads to a new program: whether it starts on this host at all. */
function planCheck({ isLive, paths }: InstallFacts, { isThere, target }: WantedProgram): readonly Step[] {
  const current = paths.get(LAYOUT.current);
  const isInUse = isThere && current?.kind === 'link' && current.target === target;
  return isLive && !isInUse ? [{ do: 'run', program: `${target}/bin/holdfast`, args: ['cri-shim', '--help'] }] : [];
}

function planGroup({ isLive, hasGroup }: InstallFacts): readonly Step[] {
  return isLive && !hasGroup ? [{ do: 'run', program: 'systemd-sysusers', args: [LAYOUT.sysusers] }] : [];
}

function notesOf(kubelet: KubeletPlan, facts: InstallFacts, steps: readonly Step[]): readonly string[] {
  const isSocketChanged =
    isActive(facts.services.get(SHIM_SOCKET_UNIT)) &&
    steps.some((step) => step.do === 'write' && step.path.endsWith(`/${SHIM_SOCKET_UNIT}`));
  return [
    ...(kubelet.kind === 'leave' ? [kubelet.why] : []),
    ...(kubelet.kind === 'point' && facts.isLive && facts.kubelet?.pid === undefined
      ? ['the kubelet does not run; it uses the shim from its next start on']
      : []),
    ...(isSocketChanged
      ? [`the new ${SHIM_SOCKET_UNIT} counts from the next boot on: restarting it now would refuse connections`]
      : []),
  ];
}

/** The folders of programs that nothing needs any more: all but the new one and the one before it. */
function oldPrograms(facts: InstallFacts, target: string, previous: string | undefined): readonly Step[] {
  return facts.programs
    .map((name) => `${LAYOUT.programs}/${name}`)
    .filter((path) => path !== target && path !== previous)
    .map((path) => ({ do: 'remove-tree', path, note: 'an older version' }));
}

export function planInstall(facts: InstallFacts, program: WantedProgram, options: InstallOptions): InstallPlan {
  const { manifest, paths } = facts;
  const kubelet = planKubelet(facts.kubelet, options.kubelet);
  const { upstream, blockers } = planUpstream(kubelet, facts);
  const known = manifest?.files ?? {};
  const units = wantedUnits(program.units, upstream);
  const files = planFiles(units, paths, known, options);
  const config = paths.has(LAYOUT.config) ? [] : planFiles([firstConfig(upstream)], paths, {}, options).steps;
  const pointed: readonly WantedFile[] = kubelet.kind === 'point' ? [{ ...kubelet.file, mode: 0o644 }] : [];
  const kubeletFile = kubelet.kind === 'point' ? planFiles(pointed, paths, known, options) : undefined;
  const links = Object.entries(wantedLinks(program.target)).map(([path, target]) =>
    planLink(path, target, paths.get(path), options),
  );
  const linkSteps = links.flatMap(({ step }) => step ?? []);
  const copy: readonly Step[] = program.isThere ? [] : [{ do: 'copy-program', from: program.root, to: program.target }];
  const check = planCheck(facts, program);
  const changes = [...copy, ...check, ...files.steps, ...config, ...planGroup(facts), ...linkSteps];
  const isInterrupted = manifest !== undefined && manifest.phase !== 'done';
  const mustReload = facts.isLive && (isInterrupted || [...files.steps, ...linkSteps].length > 0);
  const starting: Step[] = [
    ...(mustReload ? [systemctl('daemon-reload')] : []),
    ...planServices(facts, program, changes.length > 0 || isInterrupted),
  ];
  const pointing = planPointing(facts, kubelet, kubeletFile);
  // The kubelet is restarted after the runtime has answered through the shim, and only then.
  if (pointing.undo.length > 0 && !starting.some((step) => step.do === 'await-shim'))
    starting.push({ do: 'await-shim' });
  const gone = kubelet.kind === 'point' ? strayKubeletFiles(facts, kubelet.file.path) : [];
  const lasting = Object.entries(known).filter(([path]) => !gone.some((step) => 'path' in step && step.path === path));
  const settled = nextManifest(facts, program, upstream, kubelet, {
    ...Object.fromEntries(lasting),
    ...files.records,
    ...kubeletFile?.records,
  });
  const cni = planCni(facts, program, options.cni ?? {}, options.overwrite);
  const next = withCni(settled, cni);
  const removals = oldPrograms(facts, program.target, next.previous);
  const isIdle =
    changes.length + starting.length + pointing.steps.length + cni.steps.length + removals.length === 0 &&
    manifest?.phase === 'done' &&
    isSameRecord(manifest.cni, next.cni);
  const record = (manifest: Manifest): readonly Step[] => (isIdle ? [] : [{ do: 'record', manifest }]);
  return {
    blockers: [
      ...blockers,
      ...(kubelet.kind === 'refuse' ? [kubelet.blocker] : []),
      ...files.blockers,
      ...(kubeletFile?.blockers ?? []),
      ...links.flatMap(({ blocker }) => blocker ?? []),
      ...cni.blockers,
    ],
    notes: [...notesOf(kubelet, facts, changes), ...cni.notes],
    steps: [...record(next), ...changes],
    starting: {
      steps: starting,
      undo: starting.length === 0 ? [] : planWayBack(facts, program.target, units, unpointed(settled)),
    },
    pointing:
      pointing.undo.length === 0 ? pointing : { ...pointing, undo: [...pointing.undo, ...record(unpointed(settled))] },
    // Once the agent answers: what a network is placed for is served then.
    finish: [...cni.steps, ...removals, ...record(concluded(next))],
  };
}

function withCni(manifest: Manifest, { record, files }: CniPlan): Manifest {
  const { cni: earlier, ...rest } = manifest;
  const cni = record ?? earlier;
  return { ...rest, files: { ...rest.files, ...files }, ...(cni === undefined ? {} : { cni }) };
}

function isSameRecord(a: Manifest['cni'], b: Manifest['cni']): boolean {
  return a?.choice === b?.choice && a?.plugin === b?.plugin && a?.network === b?.network;
}

/** All but the kubelet is as it should be, and the kubelet as it was. */
function unpointed(manifest: Manifest): Manifest {
  const { kubelet, ...rest } = manifest;
  const files = Object.entries(manifest.files).filter(([path]) => path !== kubelet?.file);
  return concluded({ ...rest, files: Object.fromEntries(files) });
}

/** Where a link of somebody else led that ours replaces. */
function foreignLinks({ paths, manifest }: InstallFacts): Manifest['links'] {
  const found = paths.get(LAYOUT.command);
  const isForeign = found?.kind === 'link' && isForeignLink(LAYOUT.command, found.target);
  return isForeign ? { ...manifest?.links, [LAYOUT.command]: found.target } : manifest?.links;
}

function nextManifest(
  facts: InstallFacts,
  program: WantedProgram,
  upstream: string,
  kubelet: KubeletPlan,
  files: Manifest['files'],
): Manifest {
  const { manifest, hasGroup, programs } = facts;
  const links = foreignLinks(facts);
  // An upgrade that was interrupted early named a program that never came to be.
  const previous = [manifest?.program, manifest?.previous].find(
    (path) => path !== undefined && path !== program.target && programs.includes(posix.basename(path)),
  );
  // An installation that leaves the kubelet alone does not forget what an earlier one did to it.
  const pointed =
    kubelet.kind === 'point'
      ? { unit: kubelet.unit, file: kubelet.file.path, endpoint: kubelet.endpoint }
      : manifest?.kubelet;
  return {
    ...MANIFEST_HEAD,
    phase: 'installing',
    program: program.target,
    ...(previous === undefined ? {} : { previous }),
    upstream,
    files,
    madeGroup: manifest?.madeGroup ?? !hasGroup,
    ...(links === undefined ? {} : { links }),
    ...(manifest?.cni === undefined ? {} : { cni: manifest.cni }),
    ...(pointed === undefined ? {} : { kubelet: pointed }),
  };
}
