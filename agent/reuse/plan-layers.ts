// How a container's record changes with each step. Pure: every function takes a record and gives the next one.
import type { ContainerId } from '../model/ids.ts';
import type { Bytes } from '../model/quantity.ts';
import {
  type ContainerLayers,
  isHeldBy,
  type Kept,
  keptOf,
  type Layer,
  type RebuildReason,
  type Snapshot,
  type Subject,
} from './layer.ts';
import { type FreshSnapshot, fateOf } from './plan-create.ts';

/** A record, and the kept layers that nothing names any more. */
export interface Change {
  readonly layers: ContainerLayers;
  readonly dropped: readonly Kept[];
}

export interface NewContainer {
  readonly id: ContainerId;
  readonly image: string;
  readonly fresh: Pick<FreshSnapshot, 'snapshot' | 'parent'>;
}

export function emptyRecord({ podUid, namespace, pod, container }: Subject): ContainerLayers {
  return { podUid, namespace, pod, container, fastFailures: 0, resetRequested: false };
}

/** Nothing worth a record is left. */
export function isEmptyRecord({ current, superseded }: ContainerLayers): boolean {
  return current === undefined && superseded === undefined;
}

/** Rebuilds a record without the optional fields that are given as undefined. */
function withSlots(
  layers: ContainerLayers,
  slots: { readonly current: Layer | undefined; readonly superseded: ContainerLayers['superseded'] | undefined },
): ContainerLayers {
  const { current: _current, superseded: _superseded, ...rest } = layers;
  return {
    ...rest,
    ...(slots.current === undefined ? {} : { current: slots.current }),
    ...(slots.superseded === undefined ? {} : { superseded: slots.superseded }),
  };
}

function newLayer({ id, image, fresh }: NewContainer, now: number): Layer {
  const { snapshot, parent } = fresh;
  return { snapshot, parent, image, holder: { kind: 'container', id }, createdAt: now, handovers: 0 };
}

/** The layer that the next container may take over: one that is merely waiting to be replaced comes first. */
export function sourceOf({ current, superseded }: ContainerLayers): Layer | undefined {
  return superseded?.stage === 'waiting' ? superseded.layer : current;
}

/** The container begins with its own empty layer, as the first of its name. */
export function began(layers: ContainerLayers, container: NewContainer, now: number): ContainerLayers {
  return withSlots(
    { ...layers, resetRequested: false, fastFailures: 0 },
    { current: newLayer(container, now), superseded: layers.superseded },
  );
}

/** The source's upperdir was renamed into the container's snapshot. */
export function handedOver(layers: ContainerLayers, container: NewContainer): ContainerLayers {
  const source = sourceOf(layers);
  if (source === undefined) return layers;
  const { holder, cameFrom: _cameFrom, ...rest } = source;
  const current: Layer = {
    ...rest,
    snapshot: container.fresh.snapshot,
    image: container.image,
    holder: { kind: 'container', id: container.id },
    ...(holder.kind === 'container' ? { cameFrom: holder.id } : {}),
    handovers: source.handovers + 1,
  };
  const superseded = layers.superseded?.stage === 'waiting' ? undefined : layers.superseded;
  return withSlots(layers, { current, superseded });
}

/**
 * The container begins with its own empty layer in place of the source, which waits until the container has started.
 * A stranded layer from earlier gives way: one layer beside the current one is kept, not every one there ever was.
 * @param wantsReuse - false: the container's layer is not to be kept either
 */
export function rebuilt(
  layers: ContainerLayers,
  container: NewContainer,
  reason: RebuildReason,
  wantsReuse: boolean,
  now: number,
): Change {
  const source = sourceOf(layers);
  const current = wantsReuse ? newLayer(container, now) : undefined;
  const fresh: ContainerLayers = { ...layers, resetRequested: false, fastFailures: 0 };
  if (source === undefined || reason === 'lost') {
    const superseded = layers.superseded?.stage === 'stranded' ? layers.superseded : undefined;
    return { layers: withSlots(fresh, { current, superseded }), dropped: [] };
  }
  const replaced = layers.superseded?.stage === 'stranded' ? keptOf(layers.superseded.layer) : undefined;
  return {
    layers: withSlots(fresh, {
      current,
      superseded: { layer: source, reason, replacedBy: container.id, stage: 'waiting' },
    }),
    dropped: replaced === undefined ? [] : [replaced],
  };
}

/** The container that replaces a waiting layer has started. */
export function started(layers: ContainerLayers, id: ContainerId): Change {
  const { current, superseded } = layers;
  if (superseded?.stage !== 'waiting' || superseded.replacedBy !== id) return { layers, dropped: [] };
  if (fateOf(superseded.reason) === 'strand') {
    return { layers: withSlots(layers, { current, superseded: { ...superseded, stage: 'stranded' } }), dropped: [] };
  }
  const kept = keptOf(superseded.layer);
  return { layers: withSlots(layers, { current, superseded: undefined }), dropped: kept === undefined ? [] : [kept] };
}

/** The container that was to replace a waiting layer came to nothing: the old layer is the current one again. */
export function reverted(layers: ContainerLayers, id: ContainerId): ContainerLayers {
  const { superseded } = layers;
  if (superseded?.stage !== 'waiting' || superseded.replacedBy !== id) return layers;
  const resetRequested = superseded.reason === 'reset';
  return withSlots({ ...layers, resetRequested }, { current: superseded.layer, superseded: undefined });
}

/** The container never started and had nothing from anyone: its layer is not worth a record. */
export function forgotten(layers: ContainerLayers, id: ContainerId): ContainerLayers {
  const { current, superseded } = layers;
  return withSlots(layers, {
    current: isHeldBy(current, id) ? undefined : current,
    superseded: superseded !== undefined && isHeldBy(superseded.layer, id) ? undefined : superseded,
  });
}

/** The current layer's upperdir was renamed back into the snapshot of the container that it came from. */
export function movedBack(layers: ContainerLayers, to: ContainerId, snapshot: Snapshot): ContainerLayers {
  if (layers.current === undefined) return layers;
  const { cameFrom: _cameFrom, ...rest } = layers.current;
  const current: Layer = {
    ...rest,
    snapshot,
    holder: { kind: 'container', id: to },
    handovers: Math.max(0, rest.handovers - 1),
  };
  return withSlots(layers, { current, superseded: layers.superseded });
}

function applyToLayer(
  layers: ContainerLayers,
  matches: (layer: Layer) => boolean,
  change: (layer: Layer) => Layer | undefined,
): ContainerLayers {
  const applied = (layer: Layer): Layer | undefined => (matches(layer) ? change(layer) : layer);
  const { current, superseded } = layers;
  const old = superseded === undefined ? undefined : applied(superseded.layer);
  return withSlots(layers, {
    current: current === undefined ? undefined : applied(current),
    superseded: superseded === undefined || old === undefined ? undefined : { ...superseded, layer: old },
  });
}

/** The container is being removed: no layer goes back to it, for its snapshot goes with it. */
export function withoutWayBack(layers: ContainerLayers, removed: ContainerId): ContainerLayers {
  if (!layersOf(layers).some(({ cameFrom }) => cameFrom === removed)) return layers;
  return applyToLayer(
    layers,
    ({ cameFrom }) => cameFrom === removed,
    ({ cameFrom: _cameFrom, ...layer }) => layer,
  );
}

const withSnapshot =
  (snapshot: Snapshot) =>
  (layer: Layer): boolean =>
    layer.snapshot.snapshotter === snapshot.snapshotter && layer.snapshot.key === snapshot.key;

/** A lease keeps the layer from now on; its container may go. */
export function kept(layers: ContainerLayers, { snapshot, lease }: Kept, now: number): ContainerLayers {
  return applyToLayer(layers, withSnapshot(snapshot), ({ cameFrom: _cameFrom, ...layer }) => ({
    ...layer,
    holder: { kind: 'kept', lease, since: now },
  }));
}

/** The layer with this snapshot is no more. */
export function without(layers: ContainerLayers, snapshot: Snapshot): ContainerLayers {
  return applyToLayer(layers, withSnapshot(snapshot), () => undefined);
}

export function measured(layers: ContainerLayers, snapshot: Snapshot, size: Bytes, now: number): ContainerLayers {
  return applyToLayer(layers, withSnapshot(snapshot), (layer) => ({ ...layer, measured: { size, at: now } }));
}

/** All layers of the record. */
export function layersOf({ current, superseded }: ContainerLayers): readonly Layer[] {
  return [current, superseded?.layer].filter((layer) => layer !== undefined);
}
