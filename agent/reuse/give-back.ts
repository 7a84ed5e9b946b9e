// Before a container is removed: its layer is put back, kept by a lease, or forgotten when there is nothing in it.
import type { ContainerId } from '../model/ids.ts';
import { CHANGE_TIMEOUT_MS, logFields, type ReuseContext, requireLayers } from './context.ts';
import { keepLayer } from './keep-layer.ts';
import { type ContainerLayers, isHeldBy, type Layer } from './layer.ts';
import { moveLayer } from './move-layer.ts';
import { judge } from './plan-failures.ts';
import { forgotten, layersOf, movedBack, reverted, withoutWayBack } from './plan-layers.ts';
import { prepare } from './prepare.ts';
import { settle } from './settle.ts';

/** RemoveContainer follows. The container's lock must be held, and no journal entry of it be open. */
export async function keepOnRemoval(
  context: ReuseContext,
  key: string,
  id: ContainerId,
  signal: AbortSignal,
): Promise<void> {
  const settled = await settle(context, key, signal);
  if (settled === undefined) return;
  const unreplaced = withoutWayBack(reverted(settled, id), id);
  // Durable before the runtime begins: the next step may be to take a layer back that came from here.
  if (unreplaced !== settled) await context.book.write(key, { layers: unreplaced });
  const layer = layersOf(unreplaced).find((each) => isHeldBy(each, id));
  if (layer === undefined) return;
  const status = await context.runtime.containerStatus(id, signal);
  const judged = status === undefined ? unreplaced : judge(unreplaced, status, context.options.fastFailures);
  await keepLayer(context, key, judged, layer, id);
  context.logger.info({ ...logFields(judged), containerId: id }, 'writable layer kept');
}

/**
 * The container never started and never will: the layer goes back to the container that it came from, or is kept where
 * that one is gone. The container's lock must be held, and no journal entry of it be open.
 */
export async function takeBack(context: ReuseContext, key: string, id: ContainerId): Promise<void> {
  const { book, logger } = context;
  const found = book.layers(key);
  if (found === undefined) return;
  const known = withoutWayBack(reverted(found, id), id);
  if (known !== found) await book.write(key, { layers: known });
  const layer = layersOf(known).find((each) => isHeldBy(each, id));
  if (layer === undefined) return;
  const fields = { ...logFields(known), containerId: id };
  if (layer === known.current && (await moveBack(context, key, known, layer))) {
    logger.info(fields, 'writable layer put back');
  } else if (await hasNothing(context, known, layer)) {
    await book.write(key, { layers: forgotten(known, id) });
  } else {
    await keepLayer(context, key, known, layer, id);
    logger.info(fields, 'writable layer kept');
  }
}

/** The container never started; only what it was given can be in its layer. */
async function hasNothing(context: ReuseContext, known: ContainerLayers, { snapshot }: Layer): Promise<boolean> {
  const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
  const upperdir = await (await requireLayers(context, known, signal)).upperdirOf(snapshot, signal);
  return upperdir !== undefined && (await context.directories.isEmpty(upperdir));
}

/** @returns false when the earlier container cannot take it, with everything as it was before */
async function moveBack(context: ReuseContext, key: string, known: ContainerLayers, layer: Layer): Promise<boolean> {
  const to = layer.cameFrom;
  if (to === undefined) return false;
  // Must not stop half-way because the caller gave up: that is the very case in which it is called.
  const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
  const layers = await requireLayers(context, known, signal);
  const [status, snapshot, preparation] = await Promise.all([
    context.runtime.containerStatus(to, signal),
    layers.snapshotOf(to, signal),
    prepare(context, layer, signal),
  ]);
  if (status === undefined || status.state === 'running' || snapshot === undefined) return false;
  if (snapshot.snapshotter !== layer.snapshot.snapshotter || preparation.mountedAt !== undefined) return false;
  const [parent, upperdir] = await Promise.all([
    layers.parentOf(snapshot, signal),
    layers.upperdirOf(snapshot, signal),
  ]);
  if (parent !== layer.parent || upperdir === undefined || preparation.upperdir === undefined) return false;
  const result = await moveLayer(context, key, {
    from: { snapshot: layer.snapshot, upperdir: preparation.upperdir },
    to: { snapshot, upperdir },
    after: movedBack(known, to, snapshot),
    emptied: undefined,
  });
  return result === 'moved';
}
