// Carries out what plan-release decides: asks the runtime who runs, the kernel how they are confined, and lets them out.
import { HoldfastError } from '../../lib/errors.ts';
import { readStamp } from '../cpuset/stamp.ts';
import { type QuotaCgroup, readQuota, writeQuota } from '../host/cgroup-quota.ts';
import { openCgroups } from '../host/cgroupfs.ts';
import type { HostTree } from '../host/host-tree.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { openCpuLimits } from '../runtime/cpu-limits.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { type ConfinedContainer, ownedCpusOf, planPodQuota, planRelease, type Release } from './plan-release.ts';

export interface ReleaseOptions {
  readonly runtime: ContainerRuntime;
  readonly runtimeSocket: string;
  readonly tree: HostTree;
  readonly signal: AbortSignal;
}

/** A container with its cgroups. */
interface Located {
  readonly container: ConfinedContainer;
  readonly podUid: string;
  /** Its own, and its pod's where that has one. */
  readonly quotas: readonly QuotaCgroup[];
}

async function locateAll({ runtime, tree, signal }: ReleaseOptions): Promise<readonly Located[]> {
  const cgroups = await openCgroups(tree.root);
  const containers = (await runtime.listContainers(signal)).filter(
    ({ state, podUid }) => state === 'running' && podUid !== '',
  );
  const pids = await runtime.processIds(signal);
  const located: Located[] = [];
  for (const { id, podUid, podNamespace, podName, name, annotations } of containers) {
    const pid = pids.get(id);
    const cgroup = pid === undefined ? undefined : await cgroups.locate(pid, id, podUid);
    const present = cgroup && (await cgroups.read(cgroup));
    if (present === undefined) continue;
    const stamp = readStamp(annotations);
    const container = {
      id,
      title: `${podNamespace}/${podName}/${name}`,
      ...present,
      hasBoundMemory: stamp.mems !== undefined,
      ownedCpus: ownedCpusOf(stamp.holding, name),
    };
    located.push({ container, podUid, quotas: cgroup?.quotas ?? [] });
  }
  return located;
}

/** What the kernel says of the whole host; hosts without NUMA have node 0 and no file about it. */
async function readHostSet(tree: HostTree, path: string, otherwise?: CpuSet): Promise<CpuSet> {
  const file = await tree.readText(path);
  if (file !== undefined) return CpuSet.parse(file.text);
  if (otherwise !== undefined) return otherwise;
  throw new HoldfastError('HOST_FAILURE', `${path} is absent: which CPUs are there?`);
}

/** The quota of pods whose containers owned CPUs was lifted with theirs: the sum of those of their containers. */
async function restorePodQuotas(located: readonly Located[]): Promise<void> {
  const owners = new Set(located.filter(({ container }) => container.ownedCpus > 0).map(({ podUid }) => podUid));
  for (const uid of owners) {
    const members = located.filter(({ podUid }) => podUid === uid);
    const pod = members.map(({ quotas }) => quotas[1]).find((quota) => quota !== undefined);
    if (pod === undefined || (await readQuota(pod)) !== 'none') continue;
    const own = members.flatMap(({ quotas: [quota] }) => (quota === undefined ? [] : [quota]));
    const quotas = await Promise.all(own.map(readQuota));
    const sum = planPodQuota(quotas);
    if (sum !== undefined) await writeQuota(pod, sum);
  }
}

/**
 * Gives every confined container all CPUs. The agent must not run: it would put them back.
 * @returns those that were let out
 * @throws HoldfastError UNAVAILABLE without the runtime; HOST_FAILURE when one cannot be let out, after all were tried
 */
export async function releaseCpus(options: ReleaseOptions): Promise<readonly Release[]> {
  const { tree, runtime, runtimeSocket, signal } = options;
  await runtime.version(signal);
  const cpus = await readHostSet(tree, '/sys/devices/system/cpu/online');
  const mems = await readHostSet(tree, '/sys/devices/system/node/has_memory', CpuSet.of(0));
  const located = await locateAll(options);
  const releases = planRelease(
    located.map(({ container }) => container),
    cpus,
    mems,
  );
  await setAll(releases, runtimeSocket, signal);
  await restorePodQuotas(located);
  return releases;
}

async function setAll(releases: readonly Release[], runtimeSocket: string, signal: AbortSignal): Promise<void> {
  const limits = openCpuLimits(runtimeSocket);
  const failures: { readonly title: string; readonly error: unknown }[] = [];
  try {
    for (const release of releases) {
      try {
        await limits.set(release.id, release, signal);
      } catch (error) {
        // It ended meanwhile.
        if (error instanceof HoldfastError && error.code === 'NOT_FOUND') continue;
        failures.push({ title: release.title, error });
      }
    }
  } finally {
    limits.close();
  }
  const [first] = failures;
  if (first === undefined) return;
  const names = failures.map(({ title }) => title).join(', ');
  throw new HoldfastError('HOST_FAILURE', `these containers keep the CPUs that they were confined to: ${names}`, {
    cause: first.error,
  });
}
