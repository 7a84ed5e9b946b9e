// What the lease of a kept layer says about it, so that the records can be rebuilt from the leases alone. Pure.
import { createHash } from 'node:crypto';
import { podUid } from '../model/ids.ts';
import type { Lease } from '../runtime/runtime.ts';
import type { Layer, Snapshot, Subject } from './layer.ts';

const PREFIX = 'holdfast.dev/';
const LABEL = {
  podUid: `${PREFIX}pod-uid`,
  namespace: `${PREFIX}namespace`,
  pod: `${PREFIX}pod`,
  container: `${PREFIX}container`,
  image: `${PREFIX}image`,
  snapshotter: `${PREFIX}snapshotter`,
  key: `${PREFIX}snapshot`,
  parent: `${PREFIX}parent`,
  createdAt: `${PREFIX}created`,
  handovers: `${PREFIX}handovers`,
} as const;

/** Every lease of ours has it. */
export const LEASE_LABEL = LABEL.podUid;

/** containerd takes at most 4096 characters for a label's key and value together. */
const VALUE_LIMIT = 4096 - 64;

/** The same for the same snapshot of the same container, so that creating it twice makes one lease. */
export function leaseId({ podUid: uid, container }: Subject, { snapshotter, key }: Snapshot): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([uid, container, snapshotter, key]))
    .digest('hex');
  return `holdfast-layer-${hash.slice(0, 40)}`;
}

export function leaseLabels(subject: Subject, layer: Layer): Readonly<Record<string, string>> {
  return {
    [LABEL.podUid]: subject.podUid,
    [LABEL.namespace]: subject.namespace,
    [LABEL.pod]: subject.pod,
    [LABEL.container]: subject.container,
    [LABEL.image]: layer.image.slice(0, VALUE_LIMIT),
    [LABEL.snapshotter]: layer.snapshot.snapshotter,
    [LABEL.key]: layer.snapshot.key,
    [LABEL.parent]: layer.parent,
    [LABEL.createdAt]: `${layer.createdAt}`,
    [LABEL.handovers]: `${layer.handovers}`,
  };
}

/** A number that a label holds; 0 where it cannot be read. */
function readNumber(text: string | undefined): number {
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

/**
 * A kept layer from its lease.
 * @returns undefined when the labels are not those of a lease of ours: such a lease is left alone
 */
export function readLease(lease: Lease): { readonly subject: Subject; readonly layer: Layer } | undefined {
  const uid = lease.labels[LABEL.podUid];
  const container = lease.labels[LABEL.container];
  const snapshotter = lease.labels[LABEL.snapshotter];
  const key = lease.labels[LABEL.key];
  const parent = lease.labels[LABEL.parent];
  if (!uid || !container || !snapshotter || !key || parent === undefined) return undefined;
  const subject: Subject = {
    podUid: podUid(uid),
    namespace: lease.labels[LABEL.namespace] ?? '',
    pod: lease.labels[LABEL.pod] ?? '',
    container,
  };
  if (leaseId(subject, { snapshotter, key }) !== lease.id) return undefined;
  const layer: Layer = {
    snapshot: { snapshotter, key },
    parent,
    image: lease.labels[LABEL.image] ?? '',
    holder: { kind: 'kept', lease: lease.id, since: lease.createdAt },
    createdAt: readNumber(lease.labels[LABEL.createdAt]),
    handovers: readNumber(lease.labels[LABEL.handovers]),
  };
  return { subject, layer };
}
