// Keeps the layer of a container that is about to be removed: a lease holds the snapshot, and the container forgets it.

import type { ContainerId } from '../model/ids.ts';
import { CHANGE_TIMEOUT_MS, type ReuseContext, requireLayers } from './context.ts';
import type { ContainerLayers, KeepEntry, Kept, Layer } from './layer.ts';
import { leaseId, leaseLabels } from './lease-labels.ts';
import { kept as afterKeeping } from './plan-layers.ts';

/** Carries it out. When it throws, the journal entry stays open, and resolving it tells how far it came. */
export async function keepLayer(
  context: ReuseContext,
  key: string,
  layers: ContainerLayers,
  layer: Layer,
  container: ContainerId,
): Promise<void> {
  const { book, reach, now } = context;
  // Begun is begun: a caller that gives up does not stop it half-way.
  const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
  const runtimeLayers = await requireLayers(context, layers, signal);
  const kept: Kept = { snapshot: layer.snapshot, lease: leaseId(layers, layer.snapshot) };
  const entry: KeepEntry = { kind: 'keep', container, kept, after: afterKeeping(layers, kept, now()) };
  await book.write(key, { entry });
  await reach('reuse.keep.journalled');
  await runtimeLayers.createLease(kept.lease, kept.snapshot, leaseLabels(layers, layer), signal);
  await reach('reuse.keep.leased');
  await runtimeLayers.detachSnapshot(container, signal);
  await reach('reuse.keep.detached');
  await book.write(key, { layers: entry.after, entry: 'closed' });
  await reach('reuse.keep.committed');
}
