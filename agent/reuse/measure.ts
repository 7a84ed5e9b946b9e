// Measures layers off the CRI path (the snapshotter walks all their files), a few at a time.
import { describeError } from '../../lib/errors.ts';
import type { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { LayerStore } from '../runtime/runtime.ts';
import type { ReuseContext } from './context.ts';
import type { ContainerLayers, Layer } from './layer.ts';
import { layersOf, measured } from './plan-layers.ts';

/** Walking large layers is hard on the disk: so many in one round. */
const PER_ROUND = 4;

interface Due {
  readonly key: string;
  readonly layer: Layer;
  readonly at: number;
}

/** Never measured ones first, kept ones before attached ones: the budget waits for them. */
function dueLayers(records: ReadonlyMap<string, ContainerLayers>, before: number): readonly Due[] {
  const due: Due[] = [];
  for (const [key, layers] of records) {
    for (const layer of layersOf(layers)) {
      const at = layer.measured?.at ?? 0;
      if (at <= before) due.push({ key, layer, at: layer.holder.kind === 'kept' ? at - 1 : at });
    }
  }
  return due.sort((a, b) => a.at - b.at).slice(0, PER_ROUND);
}

/** Measures what is due. What cannot be measured is logged and keeps its last size. */
export async function measureLayers(
  context: ReuseContext,
  locks: KeyedMutex,
  runtimeLayers: LayerStore,
  signal: AbortSignal,
): Promise<void> {
  const { book, now, options, logger } = context;
  for (const { key, layer } of dueLayers(book.allLayers(), now() - options.measureIntervalMs)) {
    signal.throwIfAborted();
    try {
      const { size } = await runtimeLayers.usageOf(layer.snapshot, signal);
      await locks.run(
        key,
        async () => {
          const layers = book.layers(key);
          if (layers !== undefined) await book.write(key, { layers: measured(layers, layer.snapshot, size, now()) });
        },
        signal,
      );
    } catch (error) {
      signal.throwIfAborted();
      logger.warn(
        { snapshot: layer.snapshot.key, error: describeError(error) },
        'writable layer could not be measured',
      );
    }
  }
}
