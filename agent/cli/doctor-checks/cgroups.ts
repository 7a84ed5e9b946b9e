// Can CPUs and memory nodes be enforced on this host? Pure.
import type { Finding } from './check.ts';

export interface CgroupFacts {
  /** Content of /sys/fs/cgroup/cgroup.controllers; undefined where that hierarchy is not version 2. */
  readonly unifiedControllers: string | undefined;
  /** The cpuset hierarchy of version 1 is mounted. */
  readonly hasCpusetHierarchy: boolean;
}

export function checkCgroups({ unifiedControllers, hasCpusetHierarchy }: CgroupFacts): Finding {
  const subject = 'cgroups';
  const unified = unifiedControllers?.split(/\s+/) ?? [];
  if (unified.includes('cpuset')) return { level: 'ok', subject, text: 'version 2, with the cpuset controller' };
  if (hasCpusetHierarchy) return { level: 'ok', subject, text: 'version 1, with the cpuset hierarchy' };
  return {
    level: 'failed',
    subject,
    text: 'the kernel offers no cpuset controller: containers cannot be bound to CPUs or memory nodes',
    remedy: 'boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1) and a kernel with CONFIG_CPUSETS',
  };
}
