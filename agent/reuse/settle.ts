// Finds out whether a container that replaces a waiting layer has started: its start may have been missed while the
// agent was away.
import type { ContainerId } from '../model/ids.ts';
import { logFields, type ReuseContext } from './context.ts';
import type { ContainerLayers } from './layer.ts';
import { started } from './plan-layers.ts';

/** The container has started: what it replaces is given up or stranded. The container's lock must be held. */
export async function markStarted(
  { book, metrics, logger }: ReuseContext,
  key: string,
  known: ContainerLayers,
  id: ContainerId,
): Promise<ContainerLayers> {
  const { layers, dropped } = started(known, id);
  if (layers === known) return known;
  await book.write(key, { layers, dropped });
  const reason = known.superseded?.reason ?? 'image';
  if (layers.superseded === undefined) {
    metrics.givenUp.inc({ reason });
    logger.info({ ...logFields(layers), reason }, 'superseded writable layer given up');
  }
  return layers;
}

/**
 * The record as it is once a missed start has been taken into account. The container's lock must be held.
 * @returns undefined when there is no record
 */
export async function settle(
  context: ReuseContext,
  key: string,
  signal: AbortSignal,
): Promise<ContainerLayers | undefined> {
  const known = context.book.layers(key);
  if (known?.superseded?.stage !== 'waiting') return known;
  const { replacedBy } = known.superseded;
  const status = await context.runtime.containerStatus(replacedBy, signal);
  if (status === undefined || status.startedAt === 0) return known;
  return await markStarted(context, key, known, replacedBy);
}
