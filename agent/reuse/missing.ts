// Layers that are on record and that the runtime has no longer: something else removed them. They are written off, unless
// it looks as if another runtime answers.
import type { LayerStore } from '../runtime/runtime.ts';
import type { ReuseContext } from './context.ts';
import { type ContainerLayers, type Layer, sameSnapshot } from './layer.ts';
import { layersOf } from './plan-layers.ts';
import { writeOff } from './resolve.ts';

/** Everything that exists, to tell quickly what may be missing. */
export interface Present {
  readonly containerIds: ReadonlySet<string>;
  readonly leaseIds: ReadonlySet<string>;
}

/** Whether its holder is gone; only its snapshot tells whether the layer is. */
export function mayBeMissing({ holder }: Layer, { containerIds, leaseIds }: Present): boolean {
  return holder.kind === 'container' ? !containerIds.has(holder.id) : !leaseIds.has(holder.lease);
}

/** Whether the record has a layer in the same snapshot. */
export function isNamed(record: ContainerLayers, { snapshot }: Layer): boolean {
  return layersOf(record).some((each) => sameSnapshot(each.snapshot, snapshot));
}

/**
 * Whether the runtime knows none of the layers that may be missing, and there is more than one: rather than that all of
 * them were removed, another runtime answers on the socket, or one with another root.
 */
export async function missesSeveral(
  { book }: Pick<ReuseContext, 'book'>,
  layers: LayerStore,
  present: Present,
  signal: AbortSignal,
): Promise<boolean> {
  const suspects = [...book.allLayers().values()].flatMap(layersOf).filter((layer) => mayBeMissing(layer, present));
  if (suspects.length < 2) return false;
  for (const { snapshot } of suspects) {
    if ((await layers.parentOf(snapshot, signal)) !== undefined) return false;
  }
  return true;
}

/** Writes off what is missing of one record. Its lock must be held, and no journal entry of it be open. */
export async function writeOffMissing(
  context: ReuseContext,
  layers: LayerStore,
  present: Present,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const record = context.book.layers(key);
  if (record === undefined) return;
  for (const layer of layersOf(record)) {
    if (!mayBeMissing(layer, present)) continue;
    const now = context.book.layers(key);
    if (now === undefined || !isNamed(now, layer)) continue;
    // The survey may be older than the record: only the snapshot's absence counts.
    if ((await layers.parentOf(layer.snapshot, signal)) !== undefined) continue;
    await writeOff(context, key, now, layer.snapshot);
  }
}
