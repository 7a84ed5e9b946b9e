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

/** A layer with something in it, and since when it may have been there. */
interface Candidate {
  readonly layer: Layer;
  readonly since: number;
  readonly running: boolean;
}

/**
 * The layers with something in them, the present one first. A transplant leaves the earlier ones empty, so that more than
 * one means an upgrade or a reset: then the layer that was begun later is the present one.
 */
function inOrder(containers: readonly SeenContainer[], leases: readonly SeenLease[]): readonly Candidate[] {
  const held = containers
    .filter(({ isEmpty, state }) => !isEmpty || state === 'running')
    .map((each) => ({ layer: fromContainer(each), since: each.createdAt, running: each.state === 'running' }));
  const kept = leases
    .filter(({ isEmpty }) => !isEmpty)
    .map(({ layer }) => ({ layer, since: layer.createdAt, running: false }));
  return [...held, ...kept].sort((a, b) => Number(b.running) - Number(a.running) || b.since - a.since);
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
  const found = inOrder(record === undefined ? containers : [], live).map(({ layer }) => layer);
  const current = record?.current ?? found[0] ?? live.map(({ layer }) => layer).at(0);
  let layers = record;
  if (layers === undefined && current !== undefined) layers = { ...emptyRecord(subject), current };
  // Beside the present layer, a kept one with data in it is what an interrupted upgrade left: nobody gave it up.
  const beside = found.find((layer) => layer !== current && layer.holder.kind === 'kept');
  if (layers?.current?.holder.kind === 'container' && layers.superseded === undefined && beside !== undefined) {
    const replacedBy = layers.current.holder.id;
    layers = { ...layers, superseded: { layer: beside, reason: 'image', replacedBy, stage: 'stranded' } };
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
