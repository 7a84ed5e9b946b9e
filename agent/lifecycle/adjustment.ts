// The sum of what the features want changed in one CRI request. Every field has one owner.
import { HoldfastError } from '../../lib/errors.ts';
import type { CpuSet } from '../model/cpu-set.ts';

/** What one feature wants changed; an absent field is left as the kubelet sent it. */
export interface Contribution {
  readonly cpusetCpus?: CpuSet;
  /** NUMA nodes whose memory may be used. */
  readonly cpusetMems?: CpuSet;
  /** Microseconds per period; -1 lifts the quota. */
  readonly cpuQuota?: number;
  /** Added to the annotations of the container or sandbox; each key is a field of its own. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The merged contributions; what goes back to the shim. */
export type Adjustment = Contribution;

/**
 * Puts the contributions of all features together.
 * @param contributions - by the name of the feature
 * @throws HoldfastError BUG when two features set the same field
 */
export function mergeContributions(contributions: ReadonlyMap<string, Contribution>): Adjustment {
  const owners = new Map<string, string>();
  const claim = (field: string, feature: string): void => {
    const owner = owners.get(field);
    if (owner !== undefined) {
      throw new HoldfastError('BUG', `features ${owner} and ${feature} both set ${field} of one container`);
    }
    owners.set(field, feature);
  };
  let merged: Adjustment = {};
  for (const [feature, { annotations, ...fields }] of contributions) {
    for (const [field, value] of Object.entries(fields)) if (value !== undefined) claim(field, feature);
    for (const key of Object.keys(annotations ?? {})) claim(`annotation ${key}`, feature);
    merged = { ...merged, ...fields, annotations: { ...merged.annotations, ...annotations } };
  }
  return merged;
}
