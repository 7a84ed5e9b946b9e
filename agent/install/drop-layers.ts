// Kept layers as the runtime has them, without an agent: counted before uninstalling, removed by it.
import { HoldfastError } from '../../lib/errors.ts';
import type { ContainerId } from '../model/ids.ts';
import { LEASE_LABEL, readLease } from '../reuse/lease-labels.ts';
import type { ContainerRuntime, LayerStore, SnapshotRef } from '../runtime/runtime.ts';

/** A lease of ours. */
export interface LeasedLayer {
  readonly lease: string;
  /** `namespace/pod/container`, for people. */
  readonly title: string;
  /** undefined when its labels cannot be read: only the lease is known. */
  readonly snapshot: SnapshotRef | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** @throws HoldfastError UNAVAILABLE when the runtime does not answer */
export async function listLeasedLayers(
  runtime: ContainerRuntime,
  signal: AbortSignal,
): Promise<readonly LeasedLayer[]> {
  await runtime.version(signal);
  const leases = (await runtime.layers?.listLeases(LEASE_LABEL, signal)) ?? [];
  return leases.map((lease) => {
    const read = readLease(lease);
    const { namespace = '?', pod = '?', container = '?' } = read?.subject ?? {};
    return {
      lease: lease.id,
      title: `${namespace}/${pod}/${container}`,
      snapshot: read?.layer.snapshot,
      since: lease.createdAt,
    };
  });
}

/** Snapshots that a container names still: they are that container's, whatever lease there is beside. */
async function namedSnapshots(
  runtime: ContainerRuntime,
  layers: LayerStore,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const named = new Set<string>();
  for (const { id } of await runtime.listContainers(signal)) {
    const snapshot = await layers.snapshotOf(id satisfies ContainerId, signal);
    if (snapshot !== undefined) named.add(`${snapshot.snapshotter} ${snapshot.key}`);
  }
  return named;
}

/**
 * Removes every kept layer with its lease.
 * @returns how many leases there were
 */
export async function dropLeasedLayers(runtime: ContainerRuntime, signal: AbortSignal): Promise<number> {
  const leased = await listLeasedLayers(runtime, signal);
  if (leased.length === 0) return 0;
  const { layers } = runtime;
  if (layers === undefined) throw new HoldfastError('BUG', 'a runtime without layers listed leases of layers');
  const named = await namedSnapshots(runtime, layers, signal);
  for (const { lease, snapshot } of leased) {
    if (snapshot !== undefined && !named.has(`${snapshot.snapshotter} ${snapshot.key}`)) {
      await layers.removeSnapshot(snapshot, signal);
    }
    await layers.deleteLease(lease, signal);
  }
  return leased.length;
}
