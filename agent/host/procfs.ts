// What /proc says about processes: who runs, and which CPUs and memory nodes this program is confined to.
import { basename, posix } from 'node:path';
import type { HostText, HostTree } from './host-tree.ts';
import { mapBounded } from './host-tree.ts';
import type { SetText } from './sysfs.ts';

/** The CPUs and NUMA nodes that a process may use; undefined where nothing says so. */
export interface Confinement {
  readonly cpus: SetText | undefined;
  readonly mems: SetText | undefined;
}

export interface HostProcess {
  readonly pid: number;
  /** Base name of the program: of the executable's path, or of the first argument where that may not be read. */
  readonly name: string;
  readonly arguments: readonly string[];
}

/** A host with thousands of containers has a few thousand mounts of a few hundred bytes each. */
const MOUNTS_LIMIT = { maxBytes: 8 * 1024 * 1024 };
/** Longer than any kubelet's; what a process has beyond it is not looked at. */
const COMMAND_LINE_LIMIT = { maxBytes: 64 * 1024, longer: 'cut' } as const;
const AT_ONCE = 16;

/** Takes back the octal escapes (`\040`) of /proc/mounts. */
function unescapeMount(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/**
 * Where the cpuset of the process with these /proc files is: the directory in the cgroup tree, below the host's root.
 * undefined when no cgroup hierarchy with cpusets is mounted or the process is outside what this namespace sees.
 * @param mounts - /proc/self/mounts
 * @param cgroup - /proc/self/cgroup
 * @param cpuset - /proc/self/cpuset
 */
export function findCpusetDirectory(
  mounts: string,
  cgroup: string | undefined,
  cpuset: string | undefined,
): { readonly directory: string; readonly mountPoint: string; readonly version: 1 | 2 } | undefined {
  const memberships = (cgroup ?? '').split('\n').map((line) => /^\d+:([^:]*):(\/.*)$/.exec(line));
  const v1Path = memberships.find((match) => match?.[1]?.split(',').includes('cpuset') === true)?.[2];
  const v2Path = memberships.find((match) => match?.[1] === '')?.[2];
  const anyPath = cpuset?.trim();
  for (const line of mounts.split('\n')) {
    const [, mountPoint, type, options] = line.split(' ');
    if (mountPoint === undefined || type === undefined) continue;
    const version = type === 'cgroup2' ? 2 : 1;
    const hasCpusets =
      type === 'cpuset' || (type === 'cgroup' && options?.split(',').includes('cpuset') === true) || version === 2;
    // With cgroup v1 mounted for cpusets, the v2 hierarchy beside it has none.
    if (!hasCpusets || (version === 2 && v1Path !== undefined)) continue;
    const path = (version === 2 ? v2Path : v1Path) ?? anyPath;
    // A path that begins with `/..` is outside this process's cgroup namespace.
    if (path === undefined || !path.startsWith('/') || path.split('/').includes('..')) continue;
    const point = unescapeMount(mountPoint);
    return { directory: posix.join(point, path), mountPoint: point, version };
  }
  return undefined;
}

/** One field (`Cpus_allowed_list`) of /proc/<pid>/status. */
export function readStatusField(status: HostText, field: string): SetText | undefined {
  const match = new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(status.text);
  const value = match?.[1];
  return value === undefined ? undefined : { path: `${status.path} (${field})`, text: value, format: 'list' };
}

/** The nearest cgroup upwards that has the file: a cgroup without the cpuset controller takes its parent's. */
async function readUpwards(
  tree: HostTree,
  directory: string,
  mountPoint: string,
  names: readonly string[],
): Promise<SetText | undefined> {
  for (let at = directory; ; at = posix.dirname(at)) {
    for (const name of names) {
      const file = await tree.readText(posix.join(at, name));
      if (file !== undefined && file.text.trim() !== '') return { ...file, format: 'list' };
    }
    if (at === mountPoint || at === '/') return undefined;
  }
}

/**
 * What this process is confined to, below a root directory. The cpuset comes first: systemd's `CPUAffinity=` narrows the
 * affinity of every service, this one too, but says nothing about where containers may run. Where cgroups cannot be
 * read, the affinity in /proc/self/status is what is left; a copy of a machine without either is not confined.
 */
export async function readConfinement(tree: HostTree): Promise<Confinement> {
  const mounts =
    (await tree.readText('/proc/self/mounts', MOUNTS_LIMIT)) ?? (await tree.readText('/proc/mounts', MOUNTS_LIMIT));
  const cgroup = await tree.readText('/proc/self/cgroup');
  const cpuset = await tree.readText('/proc/self/cpuset');
  const status = await tree.readText('/proc/self/status');
  const found = findCpusetDirectory(mounts?.text ?? '', cgroup?.text, cpuset?.text);
  const read = async (kind: 'cpus' | 'mems', field: string): Promise<SetText | undefined> => {
    const names =
      found?.version === 2
        ? [`cpuset.${kind}.effective`]
        : [`cpuset.effective_${kind}`, `cpuset.${kind}`, `effective_${kind}`, kind];
    const own = found && (await readUpwards(tree, found.directory, found.mountPoint, names));
    return own ?? (status && readStatusField(status, field));
  };
  return { cpus: await read('cpus', 'Cpus_allowed_list'), mems: await read('mems', 'Mems_allowed_list') };
}

/** All processes with a command line (kernel threads have none), by pid. */
export async function listProcesses(tree: HostTree, signal: AbortSignal): Promise<readonly HostProcess[]> {
  const pids = ((await tree.list('/proc')) ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  pids.sort((a, b) => a - b);
  const processes = await mapBounded(pids, AT_ONCE, async (pid): Promise<HostProcess | undefined> => {
    signal.throwIfAborted();
    const commandLine = await tree.readText(`/proc/${pid}/cmdline`, COMMAND_LINE_LIMIT);
    if (commandLine === undefined || commandLine.text === '') return undefined;
    const words = commandLine.text.split('\0');
    const executable = (await tree.readLink(`/proc/${pid}/exe`))?.replace(/ \(deleted\)$/, '');
    return { pid, name: basename(executable ?? words[0] ?? ''), arguments: words };
  });
  return processes.filter((process) => process !== undefined);
}

/** The tree as if no process ran in it. */
export function withoutProcesses(tree: HostTree): HostTree {
  const isOfProcess = (path: string): boolean => /^\/proc(?:\/|$)/.test(posix.normalize(path));
  return {
    ...tree,
    readText: async (path, limit) => (isOfProcess(path) ? undefined : await tree.readText(path, limit)),
    list: async (path) => (isOfProcess(path) ? undefined : await tree.list(path)),
    listKinds: async (path) => (isOfProcess(path) ? undefined : await tree.listKinds(path)),
    readLink: async (path) => (isOfProcess(path) ? undefined : await tree.readLink(path)),
  };
}
