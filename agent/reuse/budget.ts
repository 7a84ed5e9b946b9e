// Gives kept layers up that are too old, or too many together, and says so.
import type { KeyedMutex } from '../../lib/keyed-mutex.ts';
import { formatBytes } from '../model/quantity.ts';
import { logFields, type ReuseContext } from './context.ts';
import { nameOf, sameSnapshot } from './layer.ts';
import { type GivenUp, planBudget } from './plan-budget.ts';
import { layersOf, without } from './plan-layers.ts';

/** Gives up what exceeds the budget or its age; the host is rid of it with the next removal of drops. */
export async function keepWithinBudget(context: ReuseContext, locks: KeyedMutex, signal: AbortSignal): Promise<void> {
  const { book, now, options, startedAt } = context;
  for (const { key, kept } of planBudget(book.allLayers(), options, now(), startedAt)) {
    await locks.run(
      key,
      async () => {
        // The layer may have been handed over while this waited for its turn.
        const still = planBudget(book.allLayers(), options, now(), startedAt).find(
          (each) => each.kept.lease === kept.lease,
        );
        if (still !== undefined && book.entry(key) === undefined) await giveUp(context, still);
      },
      signal,
    );
  }
}

async function giveUp(context: ReuseContext, { key, layers, kept, why }: GivenUp): Promise<void> {
  const { book, metrics, notices, logger, options } = context;
  const size = layersOf(layers).find(({ snapshot }) => sameSnapshot(snapshot, kept.snapshot))?.measured?.size;
  await book.write(key, { layers: without(layers, kept.snapshot), dropped: [kept] });
  metrics.givenUp.inc({ reason: why });
  const { budgetBytes, maxAgeMs } = options;
  const text = `the kept writable layer of ${nameOf(layers)}${size === undefined ? '' : ` (${formatBytes(size)})`} was given up: ${
    why === 'age' ? 'it was kept longer than reuse.maxAge allows' : 'all kept layers together exceed reuse.budget'
  }`;
  notices.add(text);
  logger.warn({ ...logFields(layers), why, size, budgetBytes, maxAgeMs }, text);
}
