// The writable layers of one container of a pod, as the feature knows and stores them. Types and pure helpers.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import { type ContainerId, containerId, podUid } from '../model/ids.ts';
import { bytes } from '../model/quantity.ts';
import type { Table } from '../state/store.ts';

const containerIdSchema = z.string().min(1).transform(containerId);

const snapshotSchema = z.object({ snapshotter: z.string().min(1), key: z.string().min(1) }).readonly();

const holderSchema = z.discriminatedUnion('kind', [
  /** A container's metadata names the snapshot. */
  z.object({ kind: z.literal('container'), id: containerIdSchema }).readonly(),
  /** Its container was removed; a lease keeps it. `since`: milliseconds since the epoch. */
  z.object({ kind: z.literal('kept'), lease: z.string().min(1), since: z.number() }).readonly(),
]);

const layerSchema = z
  .object({
    snapshot: snapshotSchema,
    /** The chain of image layers below; a layer is only ever put on the same one. */
    parent: z.string(),
    image: z.string(),
    holder: holderSchema,
    /** The container that the layer was taken from: it goes back there when the new one comes to nothing. */
    cameFrom: containerIdSchema.exactOptional(),
    /** Milliseconds since the epoch. */
    createdAt: z.number(),
    handovers: z.number(),
    measured: z
      .object({ size: z.number().transform(bytes), at: z.number() })
      .readonly()
      .exactOptional(),
  })
  .readonly();

/** Why a container began with an empty layer although there was one. */
export const REBUILD_REASONS = [
  'image',
  'snapshotter',
  'not-overlayfs',
  'not-empty',
  'other-filesystem',
  'failures',
  'reset',
  'policy',
  'lost',
] as const;

const supersededSchema = z
  .object({
    layer: layerSchema,
    reason: z.enum(REBUILD_REASONS),
    replacedBy: containerIdSchema,
    /**
     * `waiting`: the container that replaces it has not started, until then this is the layer to go back to.
     * `stranded`: it has, but nobody asked for the change; the data stays until the budget, an administrator or the
     * pod's end takes it.
     */
    stage: z.enum(['waiting', 'stranded']),
  })
  .readonly();

const containerLayersSchema = z
  .object({
    podUid: z.string().min(1).transform(podUid),
    namespace: z.string(),
    pod: z.string(),
    container: z.string().min(1),
    current: layerSchema.exactOptional(),
    superseded: supersededSchema.exactOptional(),
    /** Consecutive failures shortly after the start, and the container whose end was counted last. */
    fastFailures: z.number(),
    judged: containerIdSchema.exactOptional(),
    /** The next attempt is to begin with an empty layer. */
    resetRequested: z.boolean(),
  })
  .readonly();

export type Snapshot = z.infer<typeof snapshotSchema>;
export type Holder = z.infer<typeof holderSchema>;
export type Layer = z.infer<typeof layerSchema>;
export type RebuildReason = (typeof REBUILD_REASONS)[number];
export type Superseded = z.infer<typeof supersededSchema>;
export type ContainerLayers = z.infer<typeof containerLayersSchema>;
/** Which container of which pod, with the names that people use. */
export type Subject = Pick<ContainerLayers, 'podUid' | 'namespace' | 'pod' | 'container'>;

const factsSchema = z
  .object({ device: z.string(), inode: z.string(), mode: z.number(), uid: z.number(), gid: z.number() })
  .readonly();

const keptSchema = z.object({ snapshot: snapshotSchema, lease: z.string().min(1) }).readonly();

const entrySchema = z.discriminatedUnion('kind', [
  /** An upperdir is renamed over another; `after` holds once it is done. */
  z
    .object({
      kind: z.literal('move'),
      from: z.object({ snapshot: snapshotSchema, upperdir: z.string() }).readonly(),
      to: z.object({ snapshot: snapshotSchema, upperdir: z.string() }).readonly(),
      /** Of the directory that moves. */
      facts: factsSchema,
      after: containerLayersSchema,
      /** The kept snapshot that the layer leaves empty; it is dropped after the move. */
      emptied: keptSchema.exactOptional(),
    })
    .readonly(),
  /** The container gives its snapshot to a lease; `after` holds once it is done. */
  z
    .object({ kind: z.literal('keep'), container: containerIdSchema, kept: keptSchema, after: containerLayersSchema })
    .readonly(),
]);

export type JournalEntry = z.infer<typeof entrySchema>;
export type MoveEntry = Extract<JournalEntry, { kind: 'move' }>;
export type KeepEntry = Extract<JournalEntry, { kind: 'keep' }>;
/** A snapshot and the lease that keeps it. */
export type Kept = z.infer<typeof keptSchema>;

/** By {@link layerKey}. */
export const LAYERS: Table<ContainerLayers> = { name: 'reuse-layers', schema: containerLayersSchema };
/** By {@link layerKey}: at most one unfinished change per container. */
export const JOURNAL: Table<JournalEntry> = { name: 'reuse-journal', schema: entrySchema };
/** By lease: what was given up and is still to be removed. Nothing waits for it. */
export const DROPS: Table<Kept> = { name: 'reuse-drops', schema: keptSchema };

/** Kubernetes names have at most 253 characters, UIDs far fewer. */
const NAME_LIMIT = 253;

/**
 * The key of a container's record. Names are encoded: what a pod calls itself cannot reach another pod's record.
 * @throws HoldfastError INVALID_REQUEST for empty names and names that no Kubernetes object has
 */
export function layerKey({ podUid: uid, container }: Pick<Subject, 'podUid' | 'container'>): string {
  for (const name of [uid, container]) {
    if (name === '' || name.length > NAME_LIMIT) {
      throw new HoldfastError('INVALID_REQUEST', 'a pod UID or container name is empty or longer than 253 characters');
    }
  }
  return `${encodeURIComponent(uid)}/${encodeURIComponent(container)}`;
}

export function sameSnapshot(a: Snapshot, b: Snapshot): boolean {
  return a.snapshotter === b.snapshotter && a.key === b.key;
}

/** Whether the container is the layer's holder. */
export function isHeldBy(layer: Layer | undefined, id: ContainerId): boolean {
  return layer?.holder.kind === 'container' && layer.holder.id === id;
}

/** The layer's snapshot and lease, where a lease keeps it. */
export function keptOf(layer: Layer | undefined): Kept | undefined {
  return layer?.holder.kind === 'kept' ? { snapshot: layer.snapshot, lease: layer.holder.lease } : undefined;
}

/** `namespace/pod/container`, for messages. */
export function nameOf({ namespace, pod, container }: Subject): string {
  return `${namespace}/${pod}/${container}`;
}
