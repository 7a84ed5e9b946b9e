// The features, built over what lies outside.
import { join } from 'node:path';
import type { Registry as MetricsRegistry } from 'prom-client';
import type { Changes } from '../../lib/changes.ts';
import { failpointFromEnvironment } from '../../lib/failpoint.ts';
import { createCpuset } from '../cpuset/feature.ts';
import { replaceFile } from '../host/replace-file.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { formatSharedMask, SHARED_MASK_FILE } from '../model/shared-mask.ts';
import { createReuse } from '../reuse/feature.ts';
import type { WiringOptions } from './options.ts';
import type { Outside } from './outside.ts';

/** Layers are measured again after this long; a walk through one costs the disk something. */
const MEASURE_INTERVAL_MS = 60_000;

export function buildFeatures(
  { config, logger }: WiringOptions,
  outside: Outside,
  metrics: MetricsRegistry,
  changes: Changes,
) {
  const failpoint = failpointFromEnvironment(process.env);
  const { runtime, store, podSource, tree, topology, cgroups, kubelet } = outside;
  const shared = { runtime, store, logger, registry: metrics, now: Date.now, ...(failpoint && { failpoint }) };
  const cpuset = createCpuset({
    ...shared,
    topology,
    cgroups,
    options: {
      strategy: config.numa.strategy,
      unboundMemory: config.numa.unboundMemory,
      reservedMemory: config.numa.reservedMemory,
      reservedCpus: config.cpuset.reservedCpus ?? kubelet?.reservedSystemCpus ?? CpuSet.EMPTY,
    },
    publishMask: (mask) => replaceFile(join(config.paths.run, SHARED_MASK_FILE), formatSharedMask(mask), 0o644),
    onChange: () => changes.announce(),
  });
  const reuse = createReuse({
    ...shared,
    podSource,
    tree,
    recovered: outside.recovered,
    options: {
      budgetBytes: config.reuse.budget,
      maxAgeMs: config.reuse.maxAge,
      fastFailures: { limit: config.reuse.fastFailures.limit, withinMs: config.reuse.fastFailures.within },
      measureIntervalMs: MEASURE_INTERVAL_MS,
    },
  });
  return { cpuset, reuse };
}
