// What quickstart claims is what it has seen: the kernel's own words about a process.
import { readFile } from 'node:fs/promises';
import { CpuSet } from '../../model/cpu-set.ts';
import type { CriClient } from './cri-client.ts';
import { identify, type ProcessIdentity } from './process.ts';

export interface Observed {
  readonly process: ProcessIdentity;
  /** Cpus_allowed_list of /proc/<pid>/status: where the process may run. */
  readonly cpus: CpuSet;
  /** Mems_allowed_list: the NUMA nodes from which it gets memory. */
  readonly mems: CpuSet;
}

/** Reads a field of a status file (proc(5)); the empty set when the kernel does not have it. */
export function allowedList(status: string, field: 'Cpus_allowed_list' | 'Mems_allowed_list'): CpuSet {
  return CpuSet.parse(new RegExp(`^${field}:\\s*(\\S*)$`, 'm').exec(status)?.[1] ?? '');
}

/**
 * Looks at the first process of a running container.
 * @throws HoldfastError NOT_FOUND when it does not run
 */
export async function observe(kubelet: CriClient, containerId: string): Promise<Observed> {
  const pid = await kubelet.processId(containerId);
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return {
    process: (await identify(pid)) ?? { pid, startTicks: 0 },
    cpus: allowedList(status, 'Cpus_allowed_list'),
    mems: allowedList(status, 'Mems_allowed_list'),
  };
}
