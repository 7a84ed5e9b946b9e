// cpuset and CPU quota of cgroup v1. A cgroup's CPUs must be among its parent's, so the order of the writes matters:
// growing goes from the outside in, shrinking from the inside out.
import { HoldfastError, isErrno } from '../../lib/errors.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import { listChildren, readCgroupFile, readCgroupSet, refusedByKernel, writeCgroupFile } from './cgroup-files.ts';

type SetFile = 'cpuset.cpus' | 'cpuset.mems';

/** Nested deeper than any container does; keeps a strange tree from holding us up. */
const DEEPEST = 8;

/**
 * Cgroups that a container made inside itself follow it: those that had all of its CPUs have all of them again, the
 * others keep what is left of theirs.
 */
async function writeChildren(
  directory: string,
  file: SetFile,
  before: CpuSet,
  next: CpuSet,
  depth: number,
): Promise<void> {
  if (depth > DEEPEST) return;
  for (const child of await listChildren(directory)) {
    const own = await readCgroupSet(child, file);
    if (own === undefined || own.isEmpty) continue;
    const rest = own.intersect(next);
    const target = own.equals(before) || rest.isEmpty ? next : rest;
    if (target.equals(own)) continue;
    if (own.isSubsetOf(target)) await writeCgroupFile(child, file, target.toString());
    await writeChildren(child, file, own, target, depth + 1);
    await writeCgroupFile(child, file, target.toString());
  }
}

/** @param known - what the cgroup has, where that is known: shrinking then needs one write and no look */
async function writeSet(directory: string, file: SetFile, next: CpuSet, known?: CpuSet): Promise<boolean> {
  const text = next.toString();
  try {
    if (known !== undefined && next.isSubsetOf(known)) {
      try {
        return await writeCgroupFile(directory, file, text);
      } catch (error) {
        if (!isErrno(error, 'EBUSY')) throw error;
      }
    }
    const before = await readCgroupSet(directory, file);
    if (before === undefined) return false;
    if (before.equals(next)) return true;
    try {
      if (!(await writeCgroupFile(directory, file, text))) return false;
    } catch (error) {
      // Its children have CPUs that it is about to lose.
      if (!isErrno(error, 'EBUSY')) throw error;
      if (!next.isSubsetOf(before)) await writeCgroupFile(directory, file, before.union(next).toString());
      await writeChildren(directory, file, before, next, 0);
      return await writeCgroupFile(directory, file, text);
    }
    if (!next.isSubsetOf(before)) await writeChildren(directory, file, before, next, 0);
    return true;
  } catch (error) {
    throw error instanceof HoldfastError ? error : refusedByKernel(directory, file, text, error);
  }
}

/**
 * @param known - the CPUs that it has, where that is known
 * @returns false when the cgroup is gone
 */
export async function writeCpusetV1(
  directory: string,
  cpus: CpuSet,
  mems: CpuSet | undefined,
  known: CpuSet | undefined,
): Promise<boolean> {
  if (mems !== undefined) {
    const before = await readCgroupSet(directory, 'cpuset.mems');
    // Pages move to the new nodes only when asked to; v2 does it by itself.
    if (before !== undefined && !before.equals(mems)) {
      await writeCgroupFile(directory, 'cpuset.memory_migrate', '1');
      if (!(await writeSet(directory, 'cpuset.mems', mems))) return false;
    }
  }
  return await writeSet(directory, 'cpuset.cpus', cpus, known);
}

/** @returns whether there was a quota */
export async function liftQuotaV1(directory: string): Promise<boolean> {
  const quota = await readCgroupFile(directory, 'cpu.cfs_quota_us');
  if (quota === undefined || quota === '-1') return false;
  try {
    return await writeCgroupFile(directory, 'cpu.cfs_quota_us', '-1');
  } catch (error) {
    throw refusedByKernel(directory, 'cpu.cfs_quota_us', '-1', error);
  }
}
