// Removes kept snapshots that nothing names any more, with their leases. They are on record until they are gone, so it
// can be done at leisure, and again.
import { describeError } from '../../lib/errors.ts';
import { CHANGE_TIMEOUT_MS, layersOfRuntime, type ReuseContext } from './context.ts';
import type { Kept } from './layer.ts';

async function dropOne(context: ReuseContext, { snapshot, lease }: Kept): Promise<void> {
  const { book, reach } = context;
  const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
  const layers = await layersOfRuntime(context, signal);
  // A runtime without layers has neither the snapshot nor the lease; they come back with the runtime that has.
  if (layers === undefined) return;
  await layers.removeSnapshot(snapshot, signal);
  await reach('reuse.drop.removed');
  await layers.deleteLease(lease, signal);
  await reach('reuse.drop.released');
  await book.forgetDrop(lease);
}

/** The lock under which {@link dropAll} runs; no container's key is like it. */
export const DROPS_LOCK = 'drops';

/** Removes all that is on record to be removed. What fails is logged and stays for the next time. */
export async function dropAll(context: ReuseContext): Promise<void> {
  for (const kept of context.book.drops().values()) {
    try {
      await dropOne(context, kept);
    } catch (error) {
      context.logger.warn(
        { lease: kept.lease, snapshot: kept.snapshot.key, error: describeError(error) },
        'a layer that was given up could not be removed; trying again later',
      );
    }
  }
}
