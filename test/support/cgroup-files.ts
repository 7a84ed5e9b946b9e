// Cgroups as plain files below a directory, with processes that do not exist: for what needs no kernel.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupPath, ContainerHost } from './cpuset-node.ts';

const MOUNTS = {
  1: '1 0 0:1 / /cpuset rw - cgroup cgroup rw,cpuset\n2 0 0:2 / /cpu rw - cgroup cgroup rw,cpu,cpuacct\n',
  2: '1 0 0:1 / /cgroup rw - cgroup2 cgroup2 rw\n',
} as const;

/** @param directory - of the test's own, and empty */
export function cgroupFiles(directory: string, version: 1 | 2 = 2): ContainerHost {
  let lastPid = 100;
  mkdirSync(join(directory, 'proc/self'), { recursive: true });
  writeFileSync(join(directory, 'proc/self/mountinfo'), MOUNTS[version]);
  const hierarchies = version === 1 ? ['cpuset', 'cpu'] : ['cgroup'];
  const directories = ({ pod, container }: CgroupPath): readonly string[] =>
    hierarchies.map((hierarchy) => join(directory, hierarchy, 'kubepods', pod, container));
  return {
    root: directory,
    launch: async (path, cpus, mems) => {
      lastPid += 1;
      const at = `/kubepods/${path.pod}/${path.container}`;
      mkdirSync(join(directory, 'proc', `${lastPid}`));
      writeFileSync(
        join(directory, 'proc', `${lastPid}`, 'cgroup'),
        version === 1 ? `2:cpuset:${at}\n3:cpu,cpuacct:${at}\n` : `0::${at}\n`,
      );
      for (const each of directories(path)) {
        mkdirSync(each, { recursive: true });
        writeFileSync(join(each, 'cgroup.controllers'), 'cpuset cpu\n');
        writeFileSync(join(each, 'cpuset.cpus'), cpus);
        writeFileSync(join(each, 'cpuset.mems'), mems);
      }
      return lastPid;
    },
    exit: async (path) => {
      for (const each of directories(path)) rmSync(each, { recursive: true, force: true });
    },
    directory: (path) => directories(path)[0] ?? directory,
  };
}
