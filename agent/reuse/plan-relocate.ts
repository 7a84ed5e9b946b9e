// Where a layer is by now, when the record of it may be older than its last hand-over. Pure.
import type { ContainerLayers, Layer } from './layer.ts';
import type { SeenContainer } from './plan-adopt.ts';

/** Only a container that came after what the record says can have got the layer. */
function sinceWhen({ holder, createdAt }: Layer, containers: readonly SeenContainer[]): number {
  if (holder.kind === 'kept') return holder.since;
  return containers.find(({ id }) => id === holder.id)?.createdAt ?? createdAt;
}

/**
 * @param record - of a store that may have lost its last changes
 * @param isEmptied - nothing is in the recorded place of the present layer, as a hand-over leaves it
 * @param containers - of the same name in the same pod
 * @returns the record with the present layer where a later container has it; undefined when it stands
 */
export function relocate(
  record: ContainerLayers,
  isEmptied: boolean,
  containers: readonly SeenContainer[],
): ContainerLayers | undefined {
  const { current } = record;
  if (current === undefined || !isEmptied) return undefined;
  const { holder, parent } = current;
  const since = sinceWhen(current, containers);
  const [heir] = containers
    .filter(({ id }) => holder.kind === 'kept' || holder.id !== id)
    .filter((each) => each.parent === parent && each.createdAt >= since)
    // One that ended without having written anything has nothing to lose; any other may be about to write.
    .filter(({ isEmpty, state }) => !isEmpty || state !== 'exited')
    .sort(
      (a, b) =>
        Number(b.state === 'running') - Number(a.state === 'running') ||
        Number(a.isEmpty) - Number(b.isEmpty) ||
        b.createdAt - a.createdAt,
    );
  if (heir === undefined) return undefined;
  const { cameFrom: _cameFrom, ...rest } = current;
  return {
    ...record,
    current: {
      ...rest,
      snapshot: heir.snapshot,
      image: heir.image,
      holder: { kind: 'container', id: heir.id },
      handovers: rest.handovers + 1,
    },
  };
}
