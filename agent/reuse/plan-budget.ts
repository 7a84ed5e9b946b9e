// Which kept layers are given up: those too old, then the oldest until the rest fits. Pure.
import type { ContainerLayers, Kept } from './layer.ts';
import { keptOf } from './layer.ts';
import { layersOf } from './plan-layers.ts';

export interface Budget {
  /** For all kept layers together. */
  readonly budgetBytes: number;
  /** Milliseconds that a layer is kept at most. */
  readonly maxAgeMs: number;
}

export interface GivenUp {
  readonly key: string;
  readonly layers: ContainerLayers;
  readonly kept: Kept;
  readonly why: 'age' | 'budget';
}

interface Candidate {
  readonly key: string;
  readonly layers: ContainerLayers;
  readonly kept: Kept;
  readonly since: number;
  readonly size: number;
}

function candidates(records: ReadonlyMap<string, ContainerLayers>): Candidate[] {
  const found: Candidate[] = [];
  for (const [key, layers] of records) {
    for (const layer of layersOf(layers)) {
      const kept = keptOf(layer);
      if (kept === undefined || layer.holder.kind !== 'kept') continue;
      found.push({ key, layers, kept, since: layer.holder.since, size: layer.measured?.size ?? 0 });
    }
  }
  return found.sort((a, b) => a.since - b.since);
}

/**
 * @param now - milliseconds since the epoch
 * @param startedAt - when the agent started, likewise: while the node was off, no pod could come back for its layer
 * @returns what to give up, oldest first; layers not measured yet count as empty until they are
 */
export function planBudget(
  records: ReadonlyMap<string, ContainerLayers>,
  { budgetBytes, maxAgeMs }: Budget,
  now: number,
  startedAt: number,
): readonly GivenUp[] {
  const all = candidates(records);
  let total = all.reduce((sum, { size }) => sum + size, 0);
  const givenUp: GivenUp[] = [];
  for (const { key, layers, kept, since, size } of all) {
    const tooOld = now - Math.max(since, startedAt) > maxAgeMs;
    // An empty layer frees nothing.
    if (!tooOld && (total <= budgetBytes || size === 0)) continue;
    givenUp.push({ key, layers, kept, why: tooOld ? 'age' : 'budget' });
    total -= size;
  }
  return givenUp;
}
