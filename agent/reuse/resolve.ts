// Completes or undoes a change that was begun and not ended, by looking at the disk and at the runtime.
import { HoldfastError } from '../../lib/errors.ts';
import type { LayerStore } from '../runtime/runtime.ts';
import { CHANGE_TIMEOUT_MS, logFields, type ReuseContext, requireLayers } from './context.ts';
import { type ContainerLayers, type KeepEntry, type MoveEntry, nameOf, type Snapshot, sameSnapshot } from './layer.ts';
import { leaseLabels } from './lease-labels.ts';
import { completeMove } from './move-layer.ts';
import { emptyRecord, layersOf, without } from './plan-layers.ts';
import { type Recovery, recoverKeep, recoverMove } from './plan-recover.ts';

/**
 * Resolves the open journal entry of a container, if there is one. The container's lock must be held.
 * @throws HoldfastError UNAVAILABLE when that cannot be done now; no step of the container may go on then
 */
export async function resolveEntry(context: ReuseContext, key: string): Promise<void> {
  const entry = context.book.entry(key);
  if (entry === undefined) return;
  const name = nameOf(entry.after);
  let outcome: Recovery;
  try {
    const layers = await requireLayers(context, entry.after, AbortSignal.timeout(CHANGE_TIMEOUT_MS));
    outcome =
      entry.kind === 'move'
        ? await resolveMove(context, key, entry, layers)
        : await resolveKeep(context, key, entry, layers);
  } catch (cause) {
    throw new HoldfastError(
      'UNAVAILABLE',
      `an unfinished change of the writable layer of ${name} cannot be resolved yet; it is tried again`,
      { cause },
    );
  }
  if (outcome === 'wait') {
    throw new HoldfastError(
      'UNAVAILABLE',
      `the writable layer of ${name} is known to the runtime, but its directory is not there; is the runtime's filesystem mounted?`,
    );
  }
  context.metrics.recovered.inc({ outcome });
  context.logger.info({ ...logFields(entry.after), change: entry.kind, outcome }, 'unfinished change resolved');
}

async function resolveMove(
  context: ReuseContext,
  key: string,
  entry: MoveEntry,
  layers: LayerStore,
): Promise<Recovery> {
  const { directories, book } = context;
  const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
  const [from, to, fromParent, toParent] = await Promise.all([
    directories.factsOf(entry.from.upperdir),
    directories.factsOf(entry.to.upperdir),
    layers.parentOf(entry.from.snapshot, signal),
    layers.parentOf(entry.to.snapshot, signal),
  ]);
  const facts = { from, to, fromExists: fromParent !== undefined, toExists: toParent !== undefined };
  const outcome = recoverMove(entry, facts);
  if (outcome === 'complete') await completeMove(context, key, entry);
  if (outcome === 'undo') await book.write(key, { entry: 'closed' });
  if (outcome === 'lost')
    await writeOff(context, key, book.layers(key) ?? emptyRecord(entry.after), entry.from.snapshot);
  return outcome;
}

async function resolveKeep(
  context: ReuseContext,
  key: string,
  entry: KeepEntry,
  layers: LayerStore,
): Promise<Recovery> {
  const { kept, container, after } = entry;
  const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
  const [parent, named] = await Promise.all([
    layers.parentOf(kept.snapshot, signal),
    layers.snapshotOf(container, signal),
  ]);
  const outcome = recoverKeep(entry, { snapshotExists: parent !== undefined, named });
  if (outcome === 'complete') {
    const layer = layersOf(after).find(({ snapshot }) => sameSnapshot(snapshot, kept.snapshot));
    if (layer === undefined) throw new HoldfastError('BUG', `the record of ${nameOf(after)} lacks the layer it keeps`);
    await layers.createLease(kept.lease, kept.snapshot, leaseLabels(after, layer), signal);
    await context.book.write(key, { layers: after, entry: 'closed' });
  } else {
    await layers.deleteLease(kept.lease, signal);
    if (outcome === 'undo') await context.book.write(key, { entry: 'closed' });
    else await writeOff(context, key, context.book.layers(key) ?? emptyRecord(after), kept.snapshot);
  }
  return outcome;
}

/** The data of the layer is nowhere: the record must not promise it any longer. */
export async function writeOff(
  { book, logger, metrics, notices }: ReuseContext,
  key: string,
  layers: ContainerLayers,
  snapshot: Snapshot,
): Promise<void> {
  await book.write(key, { layers: without(layers, snapshot), entry: 'closed' });
  metrics.givenUp.inc({ reason: 'lost' });
  notices.add(`${nameOf(layers)} lost its writable layer: something outside Holdfast removed it`);
  logger.error(
    { ...logFields(layers), snapshot: snapshot.key },
    'writable layer lost: something outside Holdfast removed it',
  );
}
