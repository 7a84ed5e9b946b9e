// Compares the records with what the runtime has: adopts layers that no record names (the store was lost), ends leases
// that keep nothing, writes off layers that something else removed.
import { mapBounded } from '../host/host-tree.ts';
import { POLICY_ANNOTATION, readContainerStamp } from '../model/policy-stamp.ts';
import type { LayerStore, Lease, RuntimeContainer } from '../runtime/runtime.ts';
import { logFields, type ReuseContext } from './context.ts';
import { type Layer, layerKey, nameOf, type Subject, sameSnapshot } from './layer.ts';
import { LEASE_LABEL, readLease } from './lease-labels.ts';
import { isNamed, mayBeMissing, missesSeveral, type Present, writeOffMissing } from './missing.ts';
import { planAdoption, type SeenContainer, type SeenLease } from './plan-adopt.ts';
import { layersOf } from './plan-layers.ts';
import { relocate } from './plan-relocate.ts';

/** What the runtime has of one container of a pod. */
interface Seen {
  readonly subject: Subject;
  readonly containers: RuntimeContainer[];
  readonly leases: { readonly lease: Lease; readonly layer: Layer }[];
}

export interface Survey extends Present {
  readonly layers: LayerStore;
  readonly seen: ReadonlyMap<string, Seen>;
  /** The runtime knows none of the snapshots that may be missing, and there is more than one: it may be another one. */
  readonly missesSeveral: boolean;
}

const AT_ONCE = 8;

/** Two calls, whatever the number of containers, and one for each layer that is not where its record says. */
export async function takeSurvey(context: ReuseContext, layers: LayerStore, signal: AbortSignal): Promise<Survey> {
  const [containers, leases] = await Promise.all([
    context.runtime.listContainers(signal),
    layers.listLeases(LEASE_LABEL, signal),
  ]);
  const seen = new Map<string, Seen>();
  const place = (subject: Subject): Seen => {
    const key = layerKey(subject);
    const there = seen.get(key) ?? { subject, containers: [], leases: [] };
    seen.set(key, there);
    return there;
  };
  for (const container of containers) {
    // Not made by a kubelet: it has no pod that could come back.
    if (container.podUid === '' || container.name === '') continue;
    const { podUid, podNamespace: namespace, podName: pod, name } = container;
    place({ podUid, namespace, pod, container: name }).containers.push(container);
  }
  for (const lease of leases) {
    const read = readLease(lease);
    if (read !== undefined) place(read.subject).leases.push({ lease, layer: read.layer });
  }
  const present: Present = {
    containerIds: new Set(containers.map(({ id }) => id)),
    leaseIds: new Set(leases.map(({ id }) => id)),
  };
  return { layers, seen, ...present, missesSeveral: await missesSeveral(context, layers, present, signal) };
}

/** Whether there is anything to do for this container; needs no lock. */
export function needsAttention(
  { book, recovered }: ReuseContext,
  survey: Survey,
  key: string,
  adoptContainers: boolean,
): boolean {
  const record = book.layers(key);
  const there = survey.seen.get(key);
  if (record !== undefined && layersOf(record).some((layer) => mayBeMissing(layer, survey))) return true;
  if (there === undefined) return false;
  if (adoptContainers && (record === undefined || recovered)) return true;
  if (record === undefined) return there.leases.length > 0;
  return there.leases.some(({ layer }) => !isNamed(record, layer));
}

/**
 * Brings one container's record and the runtime together. Its lock must be held, and no journal entry of it be open.
 * @param adoptContainers - after a start; later on, a container without a record is one whose layer was given up
 */
export async function bringTogether(
  context: ReuseContext,
  survey: Survey,
  key: string,
  adoptContainers: boolean,
  signal: AbortSignal,
): Promise<void> {
  const there = survey.seen.get(key);
  // Before anything is written off: what is missing where an old record looks for it may be elsewhere.
  if (there !== undefined && adoptContainers && context.recovered) {
    await relocateStale(context, survey.layers, key, there, signal);
  }
  if (!survey.missesSeveral) await writeOffMissing(context, survey.layers, survey, key, signal);
  if (there === undefined) return;
  const { book, logger, notices } = context;
  const record = book.layers(key);
  const containers =
    adoptContainers && record === undefined && isReused(context, there)
      ? await lookAtContainers(context, survey.layers, there.containers, signal)
      : [];
  const unknown = there.leases.filter(
    ({ lease, layer }) => !book.drops().has(lease.id) && (record === undefined || !isNamed(record, layer)),
  );
  const leases = await mapBounded(unknown, AT_ONCE, ({ lease, layer }) =>
    lookAtLease(context, survey.layers, there.containers, lease, layer, signal),
  );
  const { layers, dropped, deadLeases } = planAdoption(there.subject, record, containers, leases);
  if (layers !== undefined || dropped.length > 0) {
    await book.write(key, { ...(layers === undefined ? {} : { layers }), dropped });
  }
  for (const lease of deadLeases) await survey.layers.deleteLease(lease, signal);
  if (layers === undefined) return;
  logger.info({ ...logFields(layers), layers: layersOf(layers).length }, 'writable layer adopted from the runtime');
  if (record !== undefined) notices.add(`${there.subject.container}: an unknown kept layer was adopted`);
}

/** The record may be older than the last hand-over: then the container that got the layer is its holder. */
async function relocateStale(
  context: ReuseContext,
  layers: LayerStore,
  key: string,
  there: Seen,
  signal: AbortSignal,
): Promise<void> {
  const record = context.book.layers(key);
  if (record?.current === undefined || !isReused(context, there)) return;
  const [isEmptied, containers] = await Promise.all([
    wasEmptied(context, layers, record.current, signal),
    lookAtContainers(context, layers, there.containers, signal),
  ]);
  const relocated = relocate(record, isEmptied, containers);
  if (relocated === undefined) return;
  await context.book.write(key, { layers: relocated });
  const text = `the recovered record of ${nameOf(record)} was older than its last hand-over; its writable layer was found in a later container`;
  context.notices.add(text);
  context.logger.warn(logFields(record), text);
}

/** Whether nothing is left of the layer in this place. A directory that should be there and is not tells nothing. */
async function wasEmptied(
  { directories }: ReuseContext,
  layers: LayerStore,
  { snapshot }: Layer,
  signal: AbortSignal,
): Promise<boolean> {
  if ((await layers.parentOf(snapshot, signal)) === undefined) return true;
  const upperdir = await layers.upperdirOf(snapshot, signal);
  if (upperdir === undefined || (await directories.factsOf(upperdir)) === undefined) return false;
  return await directories.isEmpty(upperdir);
}

/** The newest container decides: an older one may be from before the pod gave its layer up. */
function isReused({ podSource }: ReuseContext, { subject, containers }: Seen): boolean {
  const [newest] = containers.toSorted((a, b) => b.createdAt - a.createdAt || b.attempt - a.attempt);
  if (newest === undefined) return false;
  const facts = podSource.find({ uid: subject.podUid, namespace: subject.namespace, name: subject.pod });
  if (facts?.containers.find(({ name }) => name === subject.container)?.kind === 'init') return false;
  try {
    return readContainerStamp(newest.annotations)?.restart === 'reuse';
  } catch {
    // A stamp that cannot be read: protected is the safe reading of it.
    return newest.annotations[POLICY_ANNOTATION] !== undefined;
  }
}

async function lookAtContainers(
  { directories }: ReuseContext,
  layers: LayerStore,
  containers: readonly RuntimeContainer[],
  signal: AbortSignal,
): Promise<readonly SeenContainer[]> {
  const seen = await mapBounded(containers, AT_ONCE, async (container): Promise<SeenContainer | undefined> => {
    const snapshot = await layers.snapshotOf(container.id, signal);
    if (snapshot === undefined) return undefined;
    const [parent, upperdir] = await Promise.all([
      layers.parentOf(snapshot, signal),
      layers.upperdirOf(snapshot, signal),
    ]);
    if (parent === undefined || upperdir === undefined) return undefined;
    const { id, createdAt, state, image } = container;
    const isEmpty = await directories.isEmpty(upperdir);
    return { id, createdAt, state, image, snapshot, parent, isEmpty };
  });
  return seen.filter((each) => each !== undefined);
}

async function lookAtLease(
  { directories }: ReuseContext,
  layers: LayerStore,
  containers: readonly RuntimeContainer[],
  lease: Lease,
  layer: Layer,
  signal: AbortSignal,
): Promise<SeenLease> {
  const parent = await layers.parentOf(layer.snapshot, signal);
  const upperdir = parent === undefined ? undefined : await layers.upperdirOf(layer.snapshot, signal);
  const named = await mapBounded(containers, AT_ONCE, ({ id }) => layers.snapshotOf(id, signal));
  return {
    layer,
    lease: lease.id,
    snapshotExists: parent !== undefined,
    isNamed: named.some((snapshot) => snapshot !== undefined && sameSnapshot(snapshot, layer.snapshot)),
    isEmpty: upperdir !== undefined && (await directories.isEmpty(upperdir)),
  };
}
