// The CPU quota of one cgroup, v1 and v2: read, and set again after it was lifted.
import { HoldfastError } from '../../lib/errors.ts';
import { readCgroupFile, refusedByKernel, writeCgroupFile } from './cgroup-files.ts';
import type { ContainerCgroup } from './cgroupfs.ts';

/** One of the directories of {@link ContainerCgroup} that have a quota. */
export type QuotaCgroup = ContainerCgroup['quotas'][number];

/** The kubelet's own period; runtimes and it use no other unless they are told to. */
const PERIOD = 100_000;

/** `none`: as much as there is; undefined when the cgroup is gone. Microseconds per 100 ms. */
export async function readQuota({ version, directory }: QuotaCgroup): Promise<number | 'none' | undefined> {
  if (version === 2) {
    const [quota, period] = (await readCgroupFile(directory, 'cpu.max'))?.split(' ') ?? [];
    if (quota === undefined || quota === 'max') return quota === undefined ? undefined : 'none';
    return Math.round((Number(quota) * PERIOD) / Number(period ?? PERIOD));
  }
  const quota = await readCgroupFile(directory, 'cpu.cfs_quota_us');
  const period = await readCgroupFile(directory, 'cpu.cfs_period_us');
  if (quota === undefined || period === undefined) return undefined;
  return Number(quota) < 0 ? 'none' : Math.round((Number(quota) * PERIOD) / Number(period));
}

/**
 * @param quota - microseconds per 100 ms
 * @returns false when the cgroup is gone
 * @throws HoldfastError HOST_FAILURE when the kernel refuses
 */
export async function writeQuota({ version, directory }: QuotaCgroup, quota: number): Promise<boolean> {
  const [file, text] = version === 2 ? ['cpu.max', `${quota} ${PERIOD}`] : ['cpu.cfs_quota_us', `${quota}`];
  try {
    if (version === 1 && !(await writeCgroupFile(directory, 'cpu.cfs_period_us', `${PERIOD}`))) return false;
    return await writeCgroupFile(directory, file, text);
  } catch (error) {
    throw error instanceof HoldfastError ? error : refusedByKernel(directory, file, text, error);
  }
}
