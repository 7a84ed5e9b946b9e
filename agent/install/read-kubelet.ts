// Finds out how this host's kubelet is started and configured: its process, its systemd unit with all drop-ins, the
// environment files of that, its configuration. What we changed ourselves is left out, so that a plan is the same twice.
import { posix } from 'node:path';
import { findKubelet, readKubeletFiles } from '../cluster/kubelet-config.ts';
import { type KubeletFlags, parseKubeletFlags } from '../cluster/kubelet-flags.ts';
import { mergeKubeletConfig } from '../cluster/kubelet-merge.ts';
import type { HostText, HostTree } from '../host/host-tree.ts';
import { type HostProcess, listProcesses } from '../host/procfs.ts';
import type { Systemd } from '../host/systemd.ts';
import { type EmbeddedKubelet, type KubeletFacts, socketOfEndpoint, UNIT_DROP_IN } from './kubelet-facts.ts';
import { LAYOUT } from './layout.ts';
import { ENDPOINT_FLAG } from './plan-kubelet.ts';
import { expandCommand, parseEnvironmentFile, readService, type UnitFile } from './unit-file.ts';

/** Where systemd looks for units, the first that has one wins (systemd.unit(5)). */
const UNIT_DIRECTORIES = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

const KUBELET_UNIT = 'kubelet.service';
const ENDPOINT_NAME = 'container-runtime-endpoint';

const EMBEDDING_PROGRAMS: Readonly<Record<string, EmbeddedKubelet>> = {
  k3s: 'k3s',
  'k3s-server': 'k3s',
  'k3s-agent': 'k3s',
  rke2: 'RKE2',
  k0s: 'k0s',
  kubelite: 'MicroK8s',
};

/** The unit file and its drop-ins, as systemd would read them; undefined when there is no such unit. */
async function readUnit(tree: HostTree, name: string, withOurs: boolean): Promise<readonly UnitFile[] | undefined> {
  let unit: UnitFile | undefined;
  const dropIns = new Map<string, UnitFile>();
  for (const directory of UNIT_DIRECTORIES) {
    const at = posix.join(directory, name);
    // Masked: systemd does not start it, whatever the directories behind have.
    if (unit === undefined && (await tree.readLink(at)) === '/dev/null') return undefined;
    unit ??= await tree.readText(at);
    const folder = posix.join(directory, `${name}.d`);
    for (const file of (await tree.list(folder)) ?? []) {
      if (!file.endsWith('.conf') || dropIns.has(file) || (file === UNIT_DROP_IN && !withOurs)) continue;
      const path = posix.join(folder, file);
      // A link to /dev/null hides the file of that name in the directories behind it.
      const text = (await tree.readLink(path)) === '/dev/null' ? { path, text: '' } : await tree.readText(path);
      if (text !== undefined) dropIns.set(file, text);
    }
  }
  if (unit === undefined) return undefined;
  const inOrder = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
  return [unit, ...inOrder];
}

/** The service of systemd that a process belongs to, from its cgroup. */
async function serviceOf(tree: HostTree, pid: number): Promise<string | undefined> {
  const cgroup = await tree.readText(`/proc/${pid}/cgroup`);
  const parts = (cgroup?.text ?? '').split('\n').flatMap((line) => line.split(':').slice(2).join(':').split('/'));
  return parts.find((part) => /^[A-Za-z0-9:_.@\\-]+\.service$/.test(part));
}

function embeddedIn(service: string | undefined, processes: readonly HostProcess[]): EmbeddedKubelet | undefined {
  const byService = /^(?:(k3s)|(rke2)|(k0s)|snap\.(microk8s))/.exec(service ?? '');
  if (byService !== null) {
    return byService[1] ? 'k3s' : byService[2] ? 'RKE2' : byService[3] ? 'k0s' : 'MicroK8s';
  }
  return processes.map(({ name }) => EMBEDDING_PROGRAMS[name]).find((name) => name !== undefined);
}

/** The arguments with which systemd would start the service. */
async function argumentsOf(tree: HostTree, files: readonly UnitFile[]): Promise<readonly string[]> {
  const { commands, environment, environmentFiles } = readService(files);
  const variables = new Map<string, string>();
  for (const word of environment) variables.set(word.replace(/=.*$/s, ''), word.replace(/^[^=]*=?/, ''));
  for (const path of environmentFiles) {
    const text = posix.isAbsolute(path) ? await tree.readText(path) : undefined;
    for (const [name, value] of parseEnvironmentFile(text?.text ?? '')) variables.set(name, value);
  }
  return expandCommand(commands[0] ?? '', variables).slice(1);
}

/**
 * A flag that our own drop-in added is not what the kubelet would have without us. It ends the command in other ways too
 * ($KUBELET_EXTRA_ARGS of kubeadm's unit is last): it is ours only where our drop-in is there, or was until now, and what
 * systemd would start without that does not point the kubelet already.
 * @param base - the unit without our drop-in
 */
async function withoutOurs(
  tree: HostTree,
  words: readonly string[],
  base: readonly UnitFile[] | undefined,
  hasDropIn: boolean,
): Promise<readonly string[]> {
  if (words.at(-1) !== ENDPOINT_FLAG || base === undefined) return words;
  const starts = await argumentsOf(tree, base);
  const isPointedAnyway = socketOfEndpoint(parseKubeletFlags(starts).get(ENDPOINT_NAME) ?? '') === LAYOUT.shimSocket;
  const isKubelet =
    posix.basename(expandCommand(readService(base).commands[0] ?? '', new Map())[0] ?? '') === 'kubelet';
  return isPointedAnyway || !(hasDropIn || isKubelet) ? words : words.slice(0, -1);
}

/** A kubelet that moves itself into another cgroup (kubeletCgroups) is still the main process of its unit. */
async function unitOfMain(pid: number, systemd: Systemd | undefined, signal: AbortSignal): Promise<string | undefined> {
  return (await systemd?.stateOf(KUBELET_UNIT, signal))?.mainPid === pid ? KUBELET_UNIT : undefined;
}

/**
 * @param systemd - undefined where it does not run, or cannot be asked
 * @returns undefined when the host has no kubelet, neither running nor as a unit
 * @throws HoldfastError HOST_FAILURE naming what cannot be read
 */
export async function readKubeletFacts(
  tree: HostTree,
  signal: AbortSignal,
  systemd?: Systemd,
): Promise<KubeletFacts | undefined> {
  const processes = await listProcesses(tree, signal);
  const kubelet = await findKubelet(tree, processes);
  const service =
    kubelet === undefined
      ? undefined
      : ((await serviceOf(tree, kubelet.pid)) ?? (await unitOfMain(kubelet.pid, systemd, signal)));
  const embedded = embeddedIn(service, kubelet === undefined ? processes : []);
  const name = kubelet === undefined ? KUBELET_UNIT : service;
  const base = name === undefined ? undefined : await readUnit(tree, name, false);
  if (kubelet === undefined && base === undefined && embedded === undefined) return undefined;
  const pid = kubelet?.pid;
  const running = kubelet?.arguments.slice(1);
  const dropIn = name === undefined ? undefined : await tree.readText(`${LAYOUT.units}/${name}.d/${UNIT_DROP_IN}`);
  const words =
    running === undefined
      ? await (base === undefined ? [] : argumentsOf(tree, base))
      : embedded === undefined
        ? await withoutOurs(tree, running, base, dropIn !== undefined)
        : running;
  const flags = parseKubeletFlags(words);
  const files = embedded === undefined ? await readKubeletFiles(tree, flags, pid) : [];
  const configDirectory = directoryOf(await workingDirectory(tree, pid), flags);
  const ours = configDirectory === undefined ? undefined : posix.join(configDirectory, UNIT_DROP_IN);
  const others = files.filter(({ path }) => path !== ours);
  const without = mergeKubeletConfig(pid ?? 0, flags, others);
  return {
    embedded,
    pid,
    unit: base === undefined || name === undefined ? undefined : { name, commands: readService(base).commands },
    endpoint: without.containerRuntimeEndpoint,
    endpointByFlag: flags.has(ENDPOINT_NAME),
    configDirectory,
    laterUnitDropIn: base?.find(setsCommandAfter)?.path,
    laterDropIn: others.find((file) => setsEndpointAfter(file, ours))?.path,
    pointed: await isPointed(tree, name, running, files, pid),
    cpuManagerPolicy: without.cpuManagerPolicy,
  };
}

async function workingDirectory(tree: HostTree, pid: number | undefined): Promise<string> {
  return (pid === undefined ? undefined : await tree.readLink(`/proc/${pid}/cwd`)) ?? '/';
}

function directoryOf(workingDirectory: string, flags: KubeletFlags): string | undefined {
  const directory = flags.get('config-dir');
  return directory === undefined || directory === '' ? undefined : posix.resolve(workingDirectory, directory);
}

/** Drop-ins are read in the order of their paths. */
function setsEndpointAfter({ path, text }: HostText, ours: string | undefined): boolean {
  return ours !== undefined && path > ours && posix.extname(path) === '.conf' && /containerRuntimeEndpoint/.test(text);
}

/** Drop-ins of a unit are read in the order of their names, whichever directory they are in. */
function setsCommandAfter(file: UnitFile, index: number): boolean {
  const isLater = index > 0 && posix.basename(file.path) > UNIT_DROP_IN;
  const earlier = { path: '', text: '[Service]\nExecStart=earlier\n' };
  return isLater && readService([earlier, file]).commands.join('\n') !== 'earlier';
}

/** Whether the kubelet uses the shim: the running one, else the one that systemd would start. */
async function isPointed(
  tree: HostTree,
  name: string | undefined,
  running: readonly string[] | undefined,
  files: readonly HostText[],
  pid: number | undefined,
): Promise<boolean> {
  const unit = running === undefined && name !== undefined ? await readUnit(tree, name, true) : undefined;
  const words = running ?? (unit === undefined ? [] : await argumentsOf(tree, unit));
  const { containerRuntimeEndpoint } = mergeKubeletConfig(pid ?? 0, parseKubeletFlags(words), files);
  return socketOfEndpoint(containerRuntimeEndpoint) === LAYOUT.shimSocket;
}
