// The directory of one private containerd, and how everything that belongs to it is found and removed: after a stop,
// and by the next start when the program that made it was killed.
import { lstat, mkdtemp, readdir, readFile, rm, rmdir, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { HoldfastError, isErrno } from '../../../lib/errors.ts';
import { removeCgroupTree } from './cgroup-tree.ts';
import { run } from './command.ts';
import { findProcesses, identify, isAlive, type ProcessIdentity, signalProcess } from './process.ts';

const PREFIX = 'holdfast-private';
/** Where every containerd puts its shims' sockets, whatever its own directories are. */
const SHIM_SOCKETS = '/run/containerd/s';
const HOST_SOCKET = '/run/containerd/containerd.sock';
const PROGRAMS = /^(?:containerd|containerd-shim.*|runc|ctr|node|holdfast)$/;
/** A program that starts one after the other without end must not take the host with it. */
const MOST_INSTANCES = 16;
/** Directory names end up in socket paths, which the kernel limits to 107 bytes. */
const LONGEST_DIRECTORY = 75;

/** Who made the directory; part of its name, so that no moment exists in which a new directory has no owner. */
export function parseInstanceName(name: string): ProcessIdentity | undefined {
  const match = /^holdfast-private-(\d+)-(\d+)-[A-Za-z0-9]{6}$/.exec(name);
  return match === null ? undefined : { pid: Number(match[1]), startTicks: Number(match[2]) };
}

/**
 * Makes an empty directory that only root can enter.
 * @throws HoldfastError PRECONDITION when as many instances as a host should have are alive
 */
export async function createInstanceDirectory(): Promise<string> {
  const present = (await readdirOrEmpty(tmpdir())).filter((name) => parseInstanceName(name) !== undefined);
  if (present.length >= MOST_INSTANCES) {
    const what = `${present.length} private containerds are running on this host already`;
    throw new HoldfastError(
      'PRECONDITION',
      `${what}, ${MOST_INSTANCES} are allowed; end the programs that started them`,
    );
  }
  const self = await identify(process.pid);
  if (self === undefined) throw new HoldfastError('BUG', '/proc does not know this process');
  const directory = await mkdtemp(join(tmpdir(), `${PREFIX}-${self.pid}-${self.startTicks}-`));
  if (Buffer.byteLength(directory) > LONGEST_DIRECTORY) {
    await rmdir(directory);
    throw new HoldfastError('PRECONDITION', `${tmpdir()} is too long for unix sockets; set TMPDIR to a shorter path`);
  }
  return directory;
}

/** The cgroup below which all of the instance's pods are. */
export function instanceCgroup(directory: string): string {
  return `/${basename(directory)}`;
}

/** Mount points below a directory, the innermost first, from a mountinfo file (proc(5)). */
export function parseMountsBelow(mountinfo: string, directory: string): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
    )
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();
}

const UNMOUNT_ROUNDS = 5;

async function unmountBelow(directory: string): Promise<void> {
  for (let round = 1; ; round += 1) {
    const mounts = parseMountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), directory);
    if (mounts.length === 0) return;
    try {
      // Lazily: a process of another container may still be going through its death.
      await run('umount', ['--lazy', '--', ...mounts]);
    } catch (error) {
      // Two programs that start at once remove the same remains, and one of them comes too late for some.
      if (round === UNMOUNT_ROUNDS) throw error;
    }
  }
}

/** Sockets that killed shims left outside the directory; their addresses are in the bundles of the tasks. */
async function removeShimSockets(directory: string): Promise<void> {
  const tasks = join(directory, 'state', 'io.containerd.runtime.v2.task', 'k8s.io');
  for (const task of await readdirOrEmpty(tasks)) {
    for (const file of ['address', 'bootstrap.json']) {
      const text = await readFile(join(tasks, task, file), 'utf8').catch((error: unknown) => {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return '';
        throw error;
      });
      const name = /\/run\/containerd\/s\/([0-9a-f]{64})/.exec(text)?.[1];
      if (name !== undefined) await ignoring(unlink(join(SHIM_SOCKETS, name)), 'ENOENT');
    }
  }
}

async function readdirOrEmpty(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  });
}

async function ignoring(work: Promise<unknown>, ...codes: readonly [string, ...string[]]): Promise<void> {
  await work.catch((error: unknown) => {
    if (!isErrno(error, ...codes)) throw error;
  });
}

/** Where the host has no containerd of its own, the directory that our shims made goes with the last instance. */
async function removeEmptyRunDirectory(): Promise<void> {
  const others = (await readdirOrEmpty(tmpdir())).some((name) => parseInstanceName(name) !== undefined);
  const hostSocket = await lstat(HOST_SOCKET).catch(() => undefined);
  if (others || hostSocket !== undefined) return;
  for (const path of [SHIM_SOCKETS, '/run/containerd']) await ignoring(rmdir(path), 'ENOENT', 'ENOTEMPTY', 'EEXIST');
}

/**
 * Ends every process of the instance and removes its mounts, cgroups, sockets and files, whatever state they are in.
 * Can be called again.
 */
export async function destroyInstance(directory: string): Promise<void> {
  // Shims first: a living one would start the clean-up that follows here, at the same time.
  for (const { pid } of await findProcesses(PROGRAMS, directory)) signalProcess(pid, 'SIGKILL');
  await removeCgroupTree(instanceCgroup(directory));
  await unmountBelow(directory);
  await removeShimSockets(directory);
  await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  await removeEmptyRunDirectory();
}

/**
 * Removes what killed programs left. Only directories that belong to this user are believed: the folder for
 * temporary files is open to everybody.
 * @returns how many there were
 */
export async function destroyStaleInstances(): Promise<number> {
  let count = 0;
  for (const name of await readdirOrEmpty(tmpdir())) {
    const owner = parseInstanceName(name);
    if (owner === undefined || (await isAlive(owner))) continue;
    const directory = join(tmpdir(), name);
    const stat = await lstat(directory).catch(() => undefined);
    if (stat?.isDirectory() !== true || stat.uid !== process.geteuid?.()) continue;
    await destroyInstance(directory);
    count += 1;
  }
  return count;
}
