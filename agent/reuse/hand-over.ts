// After CreateContainer: the new container gets the layer of the one before it, or begins with its own.
import { HoldfastError } from '../../lib/errors.ts';
import type { ContainerCreated } from '../lifecycle/feature.ts';
import { layersOfRuntime, logFields, type ReuseContext, requireLayers } from './context.ts';
import { type ContainerLayers, keptOf, type Layer, nameOf, type RebuildReason, type Subject } from './layer.ts';
import { moveLayer } from './move-layer.ts';
import { type CreatePlan, explainRebuild, type FreshSnapshot, planCreate } from './plan-create.ts';
import { failedTooOften, judge } from './plan-failures.ts';
import { began, emptyRecord, handedOver, isEmptyRecord, type NewContainer, rebuilt, sourceOf } from './plan-layers.ts';
import type { Preparations } from './prepare.ts';

/** Whether the container's layer is to be kept: known init containers start from their image every time. */
export function wantsReuse({ policy, spec }: Pick<ContainerCreated, 'policy' | 'spec'>): boolean {
  return policy.restart === 'reuse' && spec?.kind !== 'init';
}

export function subjectOf({ pod, name }: Pick<ContainerCreated, 'pod' | 'name'>): Subject {
  return { podUid: pod.uid, namespace: pod.namespace, pod: pod.name, container: name };
}

/** The container's lock must be held, and no journal entry of it be open. */
export async function handOver(
  context: ReuseContext,
  preparations: Preparations,
  key: string,
  step: ContainerCreated,
): Promise<void> {
  const { book, options } = context;
  const { signal } = step;
  const subject = subjectOf(step);
  const reuse = wantsReuse(step);
  const known = book.layers(key);
  if (!reuse && known === undefined) return;
  if (known === undefined && (await layersOfRuntime(context, signal)) === undefined) {
    warnUnsupported(context, subject);
    return;
  }
  const begunAt = performance.now();
  const layer = known && sourceOf(known);
  const [fresh, source] = await Promise.all([
    freshSnapshot(context, subject, step),
    layer === undefined ? undefined : preparations.take(key, layer, signal),
  ]);
  const container: NewContainer = { id: step.containerId, image: step.image, fresh };
  const record = known ?? emptyRecord(subject);
  const before = source?.holder === undefined ? record : judge(record, source.holder, options.fastFailures);
  const plan = planCreate({
    wantsReuse: reuse,
    resetRequested: before.resetRequested,
    failedTooOften: failedTooOften(before, options.fastFailures),
    fresh,
    source: layer && source && { layer, ...source, holderState: source.holder?.state },
  });
  await carryOut(context, key, plan, before, container, layer, reuse);
  if (plan.do === 'move') context.metrics.handoverSeconds.observe((performance.now() - begunAt) / 1000);
}

async function freshSnapshot(
  context: ReuseContext,
  subject: Subject,
  { containerId, signal }: ContainerCreated,
): Promise<FreshSnapshot> {
  const layers = await requireLayers(context, subject, signal);
  const snapshot = await layers.snapshotOf(containerId, signal);
  if (snapshot === undefined) {
    throw new HoldfastError('UNAVAILABLE', `container ${containerId} of ${nameOf(subject)} has no snapshot (any more)`);
  }
  const [parent, upperdir] = await Promise.all([
    layers.parentOf(snapshot, signal),
    layers.upperdirOf(snapshot, signal),
  ]);
  return { snapshot, parent: parent ?? '', upperdir };
}

async function carryOut(
  context: ReuseContext,
  key: string,
  plan: CreatePlan,
  before: ContainerLayers,
  container: NewContainer,
  source: Layer | undefined,
  reuse: boolean,
): Promise<void> {
  const { book, metrics, logger, now } = context;
  switch (plan.do) {
    case 'refuse':
      throw new HoldfastError(
        plan.code,
        `the writable layer of ${nameOf(before)} cannot be handed to its new container: ${plan.why}; the kubelet tries again`,
      );
    case 'begin':
      await book.write(key, { layers: began(before, container, now()) });
      return;
    case 'rebuild':
      await beginAnew(context, key, before, container, plan.reason, reuse);
      return;
    case 'move': {
      if (source === undefined) throw new HoldfastError('BUG', 'a layer is to be moved that is not there');
      const hindrance = await moveLayer(context, key, {
        from: { snapshot: source.snapshot, upperdir: plan.from },
        to: { snapshot: container.fresh.snapshot, upperdir: plan.to },
        after: handedOver(before, container),
        emptied: keptOf(source),
      });
      if (hindrance !== 'moved') {
        await beginAnew(context, key, before, container, hindrance, reuse);
        return;
      }
      metrics.handovers.inc();
      logger.info({ ...logFields(before), containerId: container.id }, 'writable layer handed over');
    }
  }
}

/** Rebuilds, in a way that users can see. */
async function beginAnew(
  { book, metrics, logger, notices, now }: ReuseContext,
  key: string,
  before: ContainerLayers,
  container: NewContainer,
  reason: RebuildReason,
  reuse: boolean,
): Promise<void> {
  const { layers, dropped } = rebuilt(before, container, reason, reuse, now());
  // Nothing changes for a container without the policy whose layer is long gone.
  if (isEmptyRecord(before) && isEmptyRecord(layers)) return;
  await book.write(key, { layers, dropped });
  metrics.rebuilds.inc({ reason });
  for (const _ of dropped) metrics.givenUp.inc({ reason: 'stranded' });
  const text = `${nameOf(before)} begins with an empty writable layer because ${explainRebuild(reason)}`;
  if (reason !== 'image' && reason !== 'policy' && reason !== 'reset') notices.add(text);
  logger.warn({ ...logFields(before), containerId: container.id, reason }, text);
}

function warnUnsupported({ metrics, logger, notices }: ReuseContext, subject: Subject): void {
  const text = `${nameOf(subject)} asks for restart: reuse, but this container runtime gives no access to writable layers (containerd does): it begins with an empty one at each restart`;
  metrics.rebuilds.inc({ reason: 'unsupported' });
  notices.add(text);
  logger.warn(logFields(subject), text);
}
