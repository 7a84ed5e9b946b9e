// What the kubelet does on the machine beside calling the runtime: cgroups of pods, by itself or through systemd, and
// directories. Machines have cgroup v2.
import type { PodCgroupLimits } from '../../../agent/cli/quickstart/cgroup-tree.ts';
import type { KubeletHost } from '../../../agent/cli/quickstart/cri-client.ts';
import type { CgroupDriver } from '../../../agent/cli/quickstart/pod-requests.ts';
import type { Machine } from '../machine/machine.ts';

const ROOT = '/sys/fs/cgroup';
const PERIOD_US = 100_000;

/** The kubelet's formula from shares to weight (KEP-2254). */
function cpuWeight({ cpuShares }: PodCgroupLimits): number {
  return 1 + Math.floor(((cpuShares - 2) * 9999) / 262142);
}

/** The cgroups from below the root down to `path`. */
function lineage(path: string): readonly string[] {
  const names = path.split('/').filter((name) => name !== '');
  return names.map((_, index) => `${ROOT}/${names.slice(0, index + 1).join('/')}`);
}

/** As libcontainer's CreateCgroupPath: every cgroup on the way hands its controllers down. */
function handDownControllers(path: string): readonly string[] {
  const parents = [ROOT, ...lineage(path).slice(0, -1)];
  return parents.map((parent) => `echo "+cpuset +cpu +io +memory +pids" > ${parent}/cgroup.subtree_control`);
}

function limits(path: string, wanted: PodCgroupLimits): readonly string[] {
  const write = (file: string, value: string): string => `echo "${value}" > ${ROOT}${path}/${file}`;
  return [
    write('cpu.weight', `${cpuWeight(wanted)}`),
    ...(wanted.cpuQuota === undefined ? [] : [write('cpu.max', `${wanted.cpuQuota} ${PERIOD_US}`)]),
    ...(wanted.memoryBytes === undefined ? [] : [write('memory.max', `${wanted.memoryBytes}`)]),
  ];
}

function byItself(path: string, wanted: PodCgroupLimits): readonly string[] {
  const made = lineage(path).map((directory) => `mkdir -p ${directory}`);
  // From the root down: a cgroup can hand down what its parent gave it.
  const steps = handDownControllers(path).flatMap((step, index) => [step, made[index] ?? '']);
  return [...steps, ...limits(path, wanted)];
}

/** A transient unit with the properties that libcontainer's systemd manager gives the kubelet's slices. */
function throughSystemd(path: string, wanted: PodCgroupLimits): readonly string[] {
  const units = path.split('/').filter((name) => name !== '');
  const start = units.map((unit, index) => {
    const isPod = index === units.length - 1;
    const properties = [
      ['DefaultDependencies', 'b', 'false'],
      ['MemoryAccounting', 'b', 'true'],
      ['CPUAccounting', 'b', 'true'],
      ['IOAccounting', 'b', 'true'],
      ['TasksAccounting', 'b', 'true'],
      ...(isPod ? [['CPUWeight', 't', `${cpuWeight(wanted)}`]] : []),
      ...(isPod && wanted.memoryBytes !== undefined ? [['MemoryMax', 't', `${wanted.memoryBytes}`]] : []),
      ...(isPod && wanted.cpuQuota !== undefined
        ? [['CPUQuotaPerSecUSec', 't', `${Math.ceil((wanted.cpuQuota / PERIOD_US) * 1_000_000)}`]]
        : []),
    ];
    const call = 'busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager';
    const list = `${properties.length} ${properties.flat().join(' ')}`;
    return `test -d ${lineage(path)[index]} || ${call} StartTransientUnit 'ssa(sv)a(sa(sv))' ${unit} replace ${list} 0`;
  });
  const wait = `for i in $(seq 500); do test -d ${ROOT}${path} && break; sleep 0.02; done`;
  return [...start, wait, ...handDownControllers(path), ...limits(path, wanted)];
}

export function kubeletHost(machine: Machine, driver: CgroupDriver): KubeletHost {
  const createCgroup = driver === 'systemd' ? throughSystemd : byItself;
  return {
    createPodCgroup: async (path, wanted) => {
      await machine.run(`set -e\n${createCgroup(path, wanted).join('\n')}`);
    },
    createPaths: async (directories, files) => {
      const touch = files.map((file) => `test -e '${file}' || : > '${file}'`);
      await machine.run(['set -e', ...directories.map((directory) => `mkdir -p '${directory}'`), ...touch].join('\n'));
    },
  };
}
