// Carries out what plan-release decides: asks the runtime who runs, the kernel how they are confined, and lets them out.
import { HoldfastError } from '../../lib/errors.ts';
import { readStamp } from '../cpuset/stamp.ts';
import { openCgroups } from '../host/cgroupfs.ts';
import type { HostTree } from '../host/host-tree.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { openCpuLimits } from '../runtime/cpu-limits.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { type ConfinedContainer, ownedCpusOf, planRelease, type Release } from './plan-release.ts';

export interface ReleaseOptions {
  readonly runtime: ContainerRuntime;
  readonly runtimeSocket: string;
  readonly tree: HostTree;
  readonly signal: AbortSignal;
}

async function readConfined({ runtime, tree, signal }: ReleaseOptions): Promise<readonly ConfinedContainer[]> {
  const cgroups = await openCgroups(tree.root);
  const containers = (await runtime.listContainers(signal)).filter(
    ({ state, podUid }) => state === 'running' && podUid !== '',
  );
  const pids = await runtime.processIds(signal);
  const confined: ConfinedContainer[] = [];
  for (const { id, podUid, podNamespace, podName, name, annotations } of containers) {
    const pid = pids.get(id);
    const cgroup = pid === undefined ? undefined : await cgroups.locate(pid, id, podUid);
    const present = cgroup && (await cgroups.read(cgroup));
    if (present === undefined) continue;
    const stamp = readStamp(annotations);
    confined.push({
      id,
      title: `${podNamespace}/${podName}/${name}`,
      ...present,
      hasBoundMemory: stamp.mems !== undefined,
      ownedCpus: ownedCpusOf(stamp.holding, name),
    });
  }
  return confined;
}

async function readSet(tree: HostTree, path: string): Promise<CpuSet> {
  const file = await tree.readText(path);
  if (file === undefined) throw new HoldfastError('HOST_FAILURE', `${path} is absent: which CPUs and nodes are there?`);
  return CpuSet.parse(file.text);
}

/**
 * Gives every confined container all CPUs. The agent must not run: it would put them back.
 * @returns those that were let out
 * @throws HoldfastError UNAVAILABLE without the runtime; HOST_FAILURE when one cannot be let out, after all were tried
 */
export async function releaseCpus(options: ReleaseOptions): Promise<readonly Release[]> {
  const { tree, runtime, runtimeSocket, signal } = options;
  await runtime.version(signal);
  const cpus = await readSet(tree, '/sys/devices/system/cpu/online');
  const mems = await readSet(tree, '/sys/devices/system/node/has_memory').catch(() => CpuSet.of(0));
  const releases = planRelease(await readConfined(options), cpus, mems);
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
  if (first === undefined) return releases;
  const names = failures.map(({ title }) => title).join(', ');
  throw new HoldfastError('HOST_FAILURE', `these containers keep the CPUs that they were confined to: ${names}`, {
    cause: first.error,
  });
}
