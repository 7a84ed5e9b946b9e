// Writable layers in containerd: snapshots, the container records that name them, and leases that keep them.
import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type Container,
  ContainerSchema,
  Containers,
  GetContainerRequestSchema,
  UpdateContainerRequestSchema,
} from '../../proto/gen/wire/containerd/containers/v1/containers_pb.ts';
import {
  AddResourceRequestSchema,
  CreateRequestSchema,
  DeleteRequestSchema,
  Leases,
  ListRequestSchema,
} from '../../proto/gen/wire/containerd/leases/v1/leases_pb.ts';
import {
  MountsRequestSchema,
  RemoveSnapshotRequestSchema,
  Snapshots,
  StatSnapshotRequestSchema,
  UsageRequestSchema,
} from '../../proto/gen/wire/containerd/snapshots/v1/snapshots_pb.ts';
import { bytes } from '../model/quantity.ts';
import { isAlreadyThere, unlessMissing } from './connection.ts';
import type { ContainerdCall } from './containerd-api.ts';
import { upperdirOfMounts } from './overlay-mount.ts';
import type { LayerStore } from './runtime.ts';

/** containerd walks the whole layer for its usage, and deletes its files on removal. */
const WALK_TIMEOUT_MS = 120_000;

/** containerd's filter syntax quotes as Go does; labels that need more than this are ours to avoid. */
function labelFilter(label: string): string {
  return `labels.${JSON.stringify(label)}`;
}

function milliseconds(timestamp: Timestamp | undefined): number {
  return timestamp === undefined ? 0 : timestampMs(timestamp);
}

export function createLayerStore(call: ContainerdCall): LayerStore {
  const getContainer = async (id: string, signal: AbortSignal): Promise<Container | undefined> =>
    (await unlessMissing(call(Containers.method.get, create(GetContainerRequestSchema, { id }), signal)))?.container;

  return {
    snapshotOf: async (id, signal) => {
      const container = await getContainer(id, signal);
      if (container === undefined || container.snapshotKey === '') return undefined;
      return { snapshotter: container.snapshotter, key: container.snapshotKey };
    },

    parentOf: async (ref, signal) => {
      const request = create(StatSnapshotRequestSchema, ref);
      return (await unlessMissing(call(Snapshots.method.stat, request, signal)))?.info?.parent;
    },

    upperdirOf: async (ref, signal) => {
      const request = create(MountsRequestSchema, ref);
      const answer = await unlessMissing(call(Snapshots.method.mounts, request, signal));
      return answer === undefined ? undefined : upperdirOfMounts(answer.mounts);
    },

    usageOf: async (ref, signal) => {
      const { size, inodes } = await call(
        Snapshots.method.usage,
        create(UsageRequestSchema, ref),
        signal,
        WALK_TIMEOUT_MS,
      );
      return { size: bytes(Number(size)), inodes: Number(inodes) };
    },

    removeSnapshot: async (ref, signal) => {
      const request = create(RemoveSnapshotRequestSchema, ref);
      await unlessMissing(call(Snapshots.method.remove, request, signal, WALK_TIMEOUT_MS));
    },

    detachSnapshot: async (id, signal) => {
      const request = create(UpdateContainerRequestSchema, {
        container: create(ContainerSchema, { id, snapshotKey: '' }),
        updateMask: { paths: ['snapshotkey'] },
      });
      await call(Containers.method.update, request, signal);
    },

    createLease: async (id, ref, labels, signal) => {
      try {
        await call(Leases.method.create, create(CreateRequestSchema, { id, labels: { ...labels } }), signal);
      } catch (error) {
        if (!isAlreadyThere(error)) throw error;
      }
      const resource = { type: `snapshots/${ref.snapshotter}`, id: ref.key };
      await call(Leases.method.addResource, create(AddResourceRequestSchema, { id, resource }), signal);
    },

    deleteLease: async (id, signal) => {
      await unlessMissing(call(Leases.method.delete, create(DeleteRequestSchema, { id }), signal));
    },

    listLeases: async (label, signal) => {
      const request = create(ListRequestSchema, { filters: [labelFilter(label)] });
      const { leases } = await call(Leases.method.list, request, signal);
      return leases.map(({ id, labels, createdAt }) => ({ id, labels, createdAt: milliseconds(createdAt) }));
    },
  };
}
