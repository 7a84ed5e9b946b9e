// Measures layers off the CRI path (the snapshotter walks all their files), a few at a time, and gives kept ones up that
// exceed the budget.
import { describeError } from '../../lib/errors.ts';
import type { KeyedMutex } from '../../lib/keyed-mutex.ts';
import { formatBytes } from '../model/quantity.ts';
import type { LayerStore } from '../runtime/runtime.ts';
import { logFields, type ReuseContext } from './context.ts';
import { type ContainerLayers, type Layer, nameOf } from './layer.ts';
import { type GivenUp, planBudget } from './plan-budget.ts';
import { layersOf, measured, without } from './plan-layers.ts';

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

/** Gives up the kept layers that are too old or too many, and says so. */
export async function keepWithinBudget(context: ReuseContext, locks: KeyedMutex, signal: AbortSignal): Promise<void> {
  const { book, now, options } = context;
  for (const { key, kept } of planBudget(book.allLayers(), options, now())) {
    await locks.run(
      key,
      async () => {
        // The layer may have been handed over while this waited for its turn.
        const still = planBudget(book.allLayers(), options, now()).find((each) => each.kept.lease === kept.lease);
        if (still !== undefined && book.entry(key) === undefined) await giveUp(context, still);
      },
      signal,
    );
  }
}

async function giveUp(context: ReuseContext, { key, layers, kept, why }: GivenUp): Promise<void> {
  const { book, metrics, notices, logger, options } = context;
  const size = layersOf(layers).find(({ snapshot }) => snapshot.key === kept.snapshot.key)?.measured?.size;
  await book.write(key, { layers: without(layers, kept.snapshot), dropped: [kept] });
  metrics.givenUp.inc({ reason: why });
  const { budgetBytes, maxAgeMs } = options;
  const text = `the kept writable layer of ${nameOf(layers)}${size === undefined ? '' : ` (${formatBytes(size)})`} was given up: ${
    why === 'age' ? 'it was kept longer than reuse.maxAge allows' : 'all kept layers together exceed reuse.budget'
  }`;
  notices.add(text);
  logger.warn({ ...logFields(layers), why, size, budgetBytes, maxAgeMs }, text);
}
