// cpuset and CPU quota of cgroup v2. Children without a cpuset of their own follow their parent by themselves, and the
// kernel moves pages when the memory nodes change.
import { HoldfastError } from '../../lib/errors.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import { readCgroupFile, refusedByKernel, writeCgroupFile } from './cgroup-files.ts';

/** Tells a cgroup that is gone from one where the cpuset controller is off. */
async function requireController(directory: string): Promise<void> {
  const controllers = await readCgroupFile(directory, 'cgroup.controllers');
  if (controllers === undefined || controllers.split(' ').includes('cpuset')) return;
  throw new HoldfastError(
    'UNSUPPORTED',
    `the cpuset controller is off in ${directory}: write "+cpuset" to cgroup.subtree_control of the cgroups above it`,
  );
}

async function writeSet(directory: string, file: string, set: CpuSet): Promise<boolean> {
  const text = set.toString();
  try {
    if (await writeCgroupFile(directory, file, text)) return true;
  } catch (error) {
    throw refusedByKernel(directory, file, text, error);
  }
  await requireController(directory);
  return false;
}

/**
 * @returns false when the cgroup is gone
 * @throws HoldfastError UNSUPPORTED where the cpuset controller is off
 */
export async function writeCpusetV2(directory: string, cpus: CpuSet, mems: CpuSet | undefined): Promise<boolean> {
  if (mems !== undefined && !(await writeSet(directory, 'cpuset.mems', mems))) return false;
  return await writeSet(directory, 'cpuset.cpus', cpus);
}

/** @returns whether there was a quota */
export async function liftQuotaV2(directory: string): Promise<boolean> {
  const max = await readCgroupFile(directory, 'cpu.max');
  if (max === undefined || max.startsWith('max')) return false;
  try {
    // The period stays as it is.
    return await writeCgroupFile(directory, 'cpu.max', 'max');
  } catch (error) {
    throw refusedByKernel(directory, 'cpu.max', 'max', error);
  }
}
