// Finds this host's kubelet and reads its effective configuration: flags, file and drop-ins. At start and in doctor only.
import { posix } from 'node:path';
import { HoldfastError } from '../../lib/errors.ts';
import type { HostText, HostTree } from '../host/host-tree.ts';
import { parseMemberships } from '../host/process-cgroup.ts';
import { type HostProcess, listProcesses } from '../host/procfs.ts';
import { type KubeletFlags, parseKubeletFlags } from './kubelet-flags.ts';
import { type KubeletConfig, mergeKubeletConfig } from './kubelet-merge.ts';

export type { KubeletConfig } from './kubelet-merge.ts';

const FILE_LIMIT = { maxBytes: 1024 * 1024 };
const DROP_IN_SUFFIX = '.conf';
const MAX_DROP_INS = 1000;
const MAX_DEPTH = 16;

/** Anybody may give a program that name: real, effective, saved and file system user have to be root's. */
async function isOfRoot(tree: HostTree, pid: number): Promise<boolean> {
  const status = await tree.readText(`/proc/${pid}/status`);
  const users = /^Uid:\s*(.*)$/m.exec(status?.text ?? '')?.[1];
  // A copy of a machine may lack the file.
  return users === undefined || users.split(/\s+/).every((user) => user === '0');
}

/** Whether systemd runs it as a service of the system; user.slice holds what people start. */
async function isOfService(tree: HostTree, pid: number): Promise<boolean> {
  const cgroup = await tree.readText(`/proc/${pid}/cgroup`);
  return parseMemberships(cgroup?.text ?? '').some(
    ({ path }) => path.split('/').some((part) => part.endsWith('.service')) && !path.startsWith('/user.slice/'),
  );
}

/**
 * The kubelet of the host: root's, with the mount namespace of process 1, of several the first that is a service. Others
 * run in containers (nodes of a test cluster), where the files that they name are not the host's.
 */
export async function findKubelet(tree: HostTree, processes: readonly HostProcess[]): Promise<HostProcess | undefined> {
  const host = await tree.readLink('/proc/1/ns/mnt');
  let first: HostProcess | undefined;
  for (const process of processes) {
    const named = process.name === 'kubelet' || posix.basename(process.arguments[0] ?? '') === 'kubelet';
    if (!named) continue;
    const own = await tree.readLink(`/proc/${process.pid}/ns/mnt`);
    // A copy of a machine has no namespaces, and without privileges they may not be read.
    if (host !== undefined && own !== undefined && own !== host) continue;
    if (!(await isOfRoot(tree, process.pid))) continue;
    if (await isOfService(tree, process.pid)) return process;
    first ??= process;
  }
  return first;
}

/** The drop-ins below a directory, in the order in which the kubelet walks it. */
async function readDropIns(tree: HostTree, directory: string, depth = 0): Promise<readonly HostText[]> {
  if (depth > MAX_DEPTH)
    throw new HoldfastError('HOST_FAILURE', `${directory} is nested over ${MAX_DEPTH} levels deep`);
  const files: HostText[] = [];
  for (const { name, kind } of (await tree.listKinds(directory)) ?? []) {
    const path = posix.join(directory, name);
    if (kind === 'directory') files.push(...(await readDropIns(tree, path, depth + 1)));
    else if (name.endsWith(DROP_IN_SUFFIX)) {
      const file = await tree.readText(path, FILE_LIMIT);
      if (file !== undefined) files.push(file);
    }
    if (files.length > MAX_DROP_INS) {
      throw new HoldfastError('HOST_FAILURE', `${directory} has over ${MAX_DROP_INS} drop-ins`);
    }
  }
  return files;
}

/**
 * The files of a kubelet in the order in which later ones win.
 * @param pid - undefined for one that does not run: paths are then those of `/`, and its file may be yet to come
 * @throws HoldfastError HOST_FAILURE when one cannot be read
 */
export async function readKubeletFiles(
  tree: HostTree,
  flags: KubeletFlags,
  pid: number | undefined,
): Promise<readonly HostText[]> {
  const workingDirectory = (pid === undefined ? undefined : await tree.readLink(`/proc/${pid}/cwd`)) ?? '/';
  const files: HostText[] = [];
  const config = flags.get('config');
  if (config !== undefined && config !== '') {
    const path = posix.resolve(workingDirectory, config);
    const file = await tree.readText(path, FILE_LIMIT);
    if (file === undefined && pid !== undefined) {
      throw new HoldfastError(
        'HOST_FAILURE',
        `the kubelet (process ${pid}) was started with --config ${path}, which is absent`,
      );
    }
    if (file !== undefined) files.push(file);
  }
  const directory = flags.get('config-dir');
  if (directory !== undefined && directory !== '') {
    files.push(...(await readDropIns(tree, posix.resolve(workingDirectory, directory))));
  }
  return files;
}

/**
 * The effective configuration of the host's kubelet as its files are now (it reads them at start only); undefined when
 * none runs.
 * @throws HoldfastError HOST_FAILURE naming the file and line that cannot be used
 */
export async function readKubeletConfig(tree: HostTree, signal: AbortSignal): Promise<KubeletConfig | undefined> {
  const kubelet = await findKubelet(tree, await listProcesses(tree, signal));
  if (kubelet === undefined) return undefined;
  const flags = parseKubeletFlags(kubelet.arguments.slice(1));
  return mergeKubeletConfig(kubelet.pid, flags, await readKubeletFiles(tree, flags, kubelet.pid));
}

/** The file of the kubelet's own credentials (`--kubeconfig`); undefined when no kubelet runs, or it runs without an API server. */
export async function findKubeletKubeconfig(tree: HostTree, signal: AbortSignal): Promise<string | undefined> {
  const kubelet = await findKubelet(tree, await listProcesses(tree, signal));
  if (kubelet === undefined) return undefined;
  const file = parseKubeletFlags(kubelet.arguments.slice(1)).get('kubeconfig');
  if (file === undefined || file === '') return undefined;
  return posix.resolve((await tree.readLink(`/proc/${kubelet.pid}/cwd`)) ?? '/', file);
}
