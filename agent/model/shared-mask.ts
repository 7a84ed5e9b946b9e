// The shared CPU mask that the agent publishes in its run directory: what the shim gives default containers while the
// agent is away.
import { HoldfastError } from '../../lib/errors.ts';
import { CpuSet } from './cpu-set.ts';

/** Below the run directory (`/run/holdfast`). Written by rename, so that a reader never sees half of it. */
export const SHARED_MASK_FILE = 'shared-cpus.json';

export interface SharedMask {
  /** CPUs that shared containers may use; never empty. */
  readonly cpus: CpuSet;
}

export function formatSharedMask(mask: SharedMask): string {
  return `${JSON.stringify({ version: 1, cpus: mask.cpus.toString() })}\n`;
}

/** @throws HoldfastError DAMAGED when the text is not a mask with at least one CPU */
export function parseSharedMask(text: string): SharedMask {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'cpus' in value && typeof value.cpus === 'string') {
      const cpus = CpuSet.parse(value.cpus);
      if (!cpus.isEmpty) return { cpus };
    }
  } catch (cause) {
    throw new HoldfastError('DAMAGED', `${SHARED_MASK_FILE} cannot be read`, { cause });
  }
  throw new HoldfastError('DAMAGED', `${SHARED_MASK_FILE} names no CPUs`);
}
