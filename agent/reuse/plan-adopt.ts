// Rebuilds a container's record from what the runtime has, where the store has lost it, and finds leases that no record
// knows. Pure.
import type { ContainerId } from '../model/ids.ts';
import type { ContainerState } from '../model/pod.ts';
import {
  type ContainerLayers,
  type Kept,
  keptOf,
  type Layer,
  type Snapshot,
  type Subject,
  sameSnapshot,
} from './layer.ts';
import { emptyRecord, layersOf } from './plan-layers.ts';

/** A container of the runtime whose policy says that its layer is to be kept. */
export interface SeenContainer {
  readonly id: ContainerId;
  readonly attempt: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly state: ContainerState;
  readonly image: string;
  readonly snapshot: Snapshot;
  readonly parent: string;
  /** Whether nothing was ever written to the layer: it is new, or it was handed on. */
  readonly isEmpty: boolean;
}

/** A lease of ours. */
export interface SeenLease {
  readonly layer: Layer;
  readonly lease: string;
  readonly snapshotExists: boolean;
  /** A container still names the snapshot: it was to be kept, and that was not finished. */
  readonly isNamed: boolean;
  readonly isEmpty: boolean;
}

export interface Adoption {
  /** undefined: the record stays as it is. */
  readonly layers: ContainerLayers | undefined;
  /** Snapshots with leases that nothing needs. */
  readonly dropped: readonly Kept[];
  /** Leases that keep nothing. */
  readonly deadLeases: readonly string[];
}

function fromContainer({ id, image, snapshot, parent, createdAt }: SeenContainer): Layer {
  return { snapshot, parent, image, holder: { kind: 'container', id }, createdAt, handovers: 0 };
}

/**
 * The container that holds the layer: the running one, else the newest with something in its layer (a transplant leaves
 * the earlier ones empty).
 */
function holderAmong(containers: readonly SeenContainer[]): SeenContainer | undefined {
  const newestFirst = containers.toSorted((a, b) => b.attempt - a.attempt || b.createdAt - a.createdAt);
  return newestFirst.find(({ state }) => state === 'running') ?? newestFirst.find(({ isEmpty }) => !isEmpty);
}

function newest(leases: readonly SeenLease[]): SeenLease | undefined {
  return leases.toSorted((a, b) => b.layer.createdAt - a.layer.createdAt || sinceOf(b) - sinceOf(a))[0];
}

function sinceOf({ layer }: SeenLease): number {
  return layer.holder.kind === 'kept' ? layer.holder.since : 0;
}

/**
 * @param record - what the store has; containers are looked at only where it has nothing
 * @param leases - those of this container that neither the record, nor the journal, nor the list of drops knows
 */
export function planAdoption(
  subject: Subject,
  record: ContainerLayers | undefined,
  containers: readonly SeenContainer[],
  leases: readonly SeenLease[],
): Adoption {
  const deadLeases = leases.filter(({ snapshotExists, isNamed }) => !snapshotExists || isNamed);
  const live = leases.filter((lease) => !deadLeases.includes(lease));
  const empty = live.filter(({ isEmpty }) => isEmpty);
  const full = live.filter(({ isEmpty }) => !isEmpty);
  const holder = record === undefined ? holderAmong(containers) : undefined;

  let layers = record ?? (holder && { ...emptyRecord(subject), current: fromContainer(holder) });
  let left = full;
  if (layers === undefined) {
    const found = newest(full) ?? newest(empty);
    if (found !== undefined) layers = { ...emptyRecord(subject), current: found.layer };
    left = full.filter((lease) => lease !== found);
  }
  // Beside a current layer, another one with data in it is what an interrupted upgrade left: nobody gave it up.
  const beside = newest(left);
  if (layers?.current?.holder.kind === 'container' && layers.superseded === undefined && beside !== undefined) {
    const replacedBy = layers.current.holder.id;
    layers = { ...layers, superseded: { layer: beside.layer, reason: 'image', replacedBy, stage: 'stranded' } };
  }
  const named = layers === undefined ? [] : layersOf(layers);
  const dropped = live
    .filter(({ layer }) => !named.some(({ snapshot }) => sameSnapshot(snapshot, layer.snapshot)))
    .flatMap(({ layer }) => keptOf(layer) ?? []);
  return {
    layers: layers === record ? undefined : layers,
    dropped,
    deadLeases: deadLeases.map(({ lease }) => lease),
  };
}
