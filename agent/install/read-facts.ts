// Looks at a host for a plan to install or uninstall; changes nothing.
import { parseGroupId } from '../host/groups.ts';
import type { HostFiles, HostPath } from '../host/host-files.ts';
import type { HostTree } from '../host/host-tree.ts';
import { findLoadedProgram } from '../host/loaded-programs.ts';
import { isPartialName } from '../host/program-tree.ts';
import type { Systemd } from '../host/systemd.ts';
import type { CniDirectories } from './containerd-config.ts';
import type { InstallFacts, ServiceFacts } from './facts.ts';
import { CONFIG_DROP_IN, type KubeletFacts, UNIT_DROP_IN } from './kubelet-facts.ts';
import { AGENT_UNIT, GROUP, LAYOUT, SHIM_SOCKET_UNIT, SHIM_UNIT, WANTS } from './layout.ts';
import { type Manifest, parseManifest } from './manifest.ts';
import { isProgramEntry, isProgramName } from './program-files.ts';
import { readCniFacts } from './read-cni.ts';
import { readKubeletFacts } from './read-kubelet.ts';
import { UNIT_TEXTS } from './wanted.ts';
import { networkPath } from './wanted-cni.ts';

export interface FactsOptions {
  readonly files: HostFiles;
  readonly tree: HostTree;
  /** undefined below a root directory, where nothing runs. */
  readonly systemd: Systemd | undefined;
  readonly configuredRuntime: string | undefined;
  /** Of the configuration: the pools' names, and whether a network that names none has one. */
  readonly pools: readonly string[];
  readonly hasDefaultPool: boolean;
  /** Where the running runtime looks for what is of CNI; undefined where it does not run, or does not say. */
  readonly cniDirectories: CniDirectories | undefined;
  readonly signal: AbortSignal;
}

const SERVICES = [AGENT_UNIT, SHIM_UNIT, SHIM_SOCKET_UNIT];
const GROUP_LIMIT = { maxBytes: 1024 * 1024 };

/** Every path at which something of ours may be. */
function pathsOfInterest(manifest: Manifest | undefined, kubelet: KubeletFacts | undefined): readonly string[] {
  const { programs, current, command, sysusers, configuration, config, state, manifest: record, lock, run } = LAYOUT;
  const kubeletFiles = [
    ...(kubelet?.unit === undefined ? [] : [`${LAYOUT.units}/${kubelet.unit.name}.d/${UNIT_DROP_IN}`]),
    ...(kubelet?.configDirectory === undefined ? [] : [`${kubelet.configDirectory}/${CONFIG_DROP_IN}`]),
    ...(manifest?.kubelet === undefined ? [] : [manifest.kubelet.file]),
  ];
  return [
    programs,
    current,
    command,
    sysusers,
    configuration,
    config,
    state,
    record,
    lock,
    run,
    ...SERVICES.map((name) => `${LAYOUT.units}/${name}`),
    ...Object.keys(WANTS),
    ...Object.keys(manifest?.files ?? {}),
    ...kubeletFiles,
  ];
}

/** The units that programs brought along, to go back to one; a program that lacks some is none to go back to. */
async function readUnitsOf(
  files: HostFiles,
  programs: ReadonlySet<string>,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  const units = new Map<string, ReadonlyMap<string, string>>();
  for (const program of programs) {
    const texts = new Map<string, string>();
    for (const name of UNIT_TEXTS) {
      const found = await files.look(`${program}/systemd/${name}`);
      if (found?.kind === 'file') texts.set(name, found.text);
    }
    if (texts.size === UNIT_TEXTS.length) units.set(program, texts);
  }
  return units;
}

/** Folders of programs that the link and the manifest name. */
function programsInUse(current: HostPath | undefined, manifest: Manifest | undefined): ReadonlySet<string> {
  const named = [current?.kind === 'link' ? current.target : undefined, manifest?.program, manifest?.previous];
  return new Set(named.flatMap((path) => (path?.startsWith(`${LAYOUT.programs}/`) === true ? [path] : [])));
}

async function readServices({ systemd, tree, signal }: FactsOptions): Promise<ReadonlyMap<string, ServiceFacts>> {
  const services = new Map<string, ServiceFacts>();
  if (systemd === undefined) return services;
  for (const unit of SERVICES) {
    const { active: state, mainPid } = await systemd.stateOf(unit, signal);
    const program = mainPid > 0 ? await findLoadedProgram(tree, mainPid, LAYOUT.programs) : undefined;
    services.set(unit, { state, program });
  }
  return services;
}

/** By its content: a program, or what an interrupted removal left of one. */
async function isProgram(files: HostFiles, path: string): Promise<boolean> {
  if ((await files.look(path))?.kind !== 'directory') return false;
  if ((await files.look(`${path}/bin/holdfast`))?.kind === 'file') return true;
  return (await files.list(path)).every((name) => isProgramEntry(name));
}

/** What is in /opt/holdfast. People put things of their own there, and run installations from there. */
async function readPrograms(files: HostFiles): Promise<Pick<InstallFacts, 'programs' | 'unfinished' | 'foreign'>> {
  const programs: string[] = [];
  const unfinished: string[] = [];
  const foreign: string[] = [];
  for (const name of await files.list(LAYOUT.programs)) {
    const path = `${LAYOUT.programs}/${name}`;
    if (path === LAYOUT.current) continue;
    if (isPartialName(name)) unfinished.push(name);
    else if (isProgramName(name) && (await isProgram(files, path))) programs.push(name);
    else foreign.push(name);
  }
  return { programs, unfinished, foreign };
}

/** @throws HoldfastError DAMAGED for a manifest that is not ours, HOST_FAILURE naming what cannot be read */
export async function readInstallFacts(options: FactsOptions): Promise<InstallFacts> {
  const { files, tree, systemd, configuredRuntime, pools, hasDefaultPool, cniDirectories: told, signal } = options;
  const record = await files.look(LAYOUT.manifest);
  const manifest = parseManifest(LAYOUT.manifest, record?.kind === 'file' ? record.text : undefined);
  const kubelet = await readKubeletFacts(tree, signal, systemd);
  const paths = new Map<string, HostPath>();
  for (const path of new Set(pathsOfInterest(manifest, kubelet))) {
    const found = await files.look(path);
    if (found !== undefined) paths.set(path, found);
  }
  const cni = await readCniFacts({ files, tree, pools, hasDefaultPool, told, placed: manifest?.cni ?? {} });
  const network = networkPath(cni);
  const found = await files.look(network);
  if (found !== undefined) paths.set(network, found);
  const groups = await tree.readText('/etc/group', GROUP_LIMIT);
  return {
    isLive: systemd !== undefined,
    paths,
    ...(await readPrograms(files)),
    manifest,
    units: await readUnitsOf(files, programsInUse(paths.get(LAYOUT.current), manifest)),
    hasGroup: parseGroupId(groups?.text ?? '', GROUP) !== undefined,
    kubelet,
    cni,
    configuredRuntime,
    services: await readServices(options),
  };
}
