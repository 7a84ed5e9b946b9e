// How well a node suits a pod that fits there, for the scheduler's ranking. Pure.
import { canTake } from '../../agent/cpuset/plan-lacks.ts';
import { type Need, sumNeeds } from '../../agent/cpuset/plan-need.ts';
import type { PodNeed } from '../../agent/cpuset/plan-pod.ts';
import type { Room } from '../../agent/cpuset/room.ts';
import type { PodAsk } from './plan-ask.ts';

/** k8s.io/kube-scheduler/extender/v1: MaxExtenderPriority. */
export const HIGHEST_SCORE = 10;

function shareOf(left: number, all: number): number {
  return all <= 0 ? 0 : Math.min(1, Math.max(0, left / all));
}

/** What is left of a NUMA node once the need is met, from 0 to 1: the mean over what the need asks for. */
function leftOver(room: Room, node: number, need: Need): number {
  const here = room.machine.nodes[node];
  if (here === undefined) return 0;
  let sum = 0;
  let count = 0;
  if (need.exclusive > 0) {
    sum += shareOf(room.freeOn(node) - need.exclusive, here.allocatable.length);
    count += 1;
  }
  if (need.milli > 0) {
    sum += shareOf(room.milliLeftOn(node) - need.milli - need.exclusive * 1000, here.poolSize * 1000);
    count += 1;
  }
  if (need.memory !== undefined && need.memory > 0 && !room.machine.memoryUnknown) {
    sum += shareOf(room.memoryLeftOn(node) - need.memory, here.memoryBytes);
    count += 1;
  }
  for (const [size, amount] of need.hugepages) {
    if (amount <= 0) continue;
    sum += shareOf(room.hugepagesLeftOn(node, size) - amount, here.hugepages.get(size) ?? 0);
    count += 1;
  }
  return count === 0 ? 1 : sum / count;
}

/** By what a pod needs: thousands of hosts are ranked for one need. */
const sums = new WeakMap<PodNeed, Need>();

function sumOf({ need, together, most }: PodAsk): Need {
  if (together !== undefined) return together;
  const known = sums.get(need) ?? (need.basis === 'spec' ? sumNeeds(need.containers) : most);
  sums.set(need, known);
  return known;
}

/**
 * From 0 to 10. `pack` ranks the host highest whose fullest fitting NUMA node is left with the least, `spread` the one
 * whose emptiest is left with the most; a host where no single NUMA node has all of it comes last.
 */
export function planScore(room: Room, ask: PodAsk): number {
  const need = sumOf(ask);
  const { strategy } = room.rules;
  let best = -1;
  for (let node = 0; node < room.machine.nodes.length; node += 1) {
    if (!canTake(room, node, need)) continue;
    const left = leftOver(room, node, need);
    best = Math.max(best, strategy === 'spread' ? left : 1 - left);
  }
  // What fits is told from what does not even when nothing is left of it.
  return best < 0 ? 0 : 1 + Math.round(best * (HIGHEST_SCORE - 1));
}
