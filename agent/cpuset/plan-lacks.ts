// What one NUMA node lacks for a need: the one place that decides it, for the planner's yes or no and for the reasons in
// words (plan-reasons.ts). Asked for every node of thousands of hosts: it makes no strings and no lists. Pure.
import type { Need } from './plan-need.ts';
import type { Room } from './room.ts';

/** Why a node's CPUs do not do: the first of these that holds. */
export type CpuLack =
  /** It has none. */
  | 'none'
  /** Fewer are free than are to be owned. */
  | 'free'
  /** The host's shared pool would be left without one. */
  | 'hostPool'
  /** Shared containers that are bound to the node need them. */
  | 'boundPool'
  /** The containers that are to come would have no pool. */
  | 'ownPool'
  /** The pool would be too small for what they request. */
  | 'milli';

/** @returns undefined when the node's CPUs do */
export function cpuLack(room: Room, node: number, need: Need): CpuLack | undefined {
  const { exclusive } = need;
  if (room.machine.nodes[node]?.hasCpus !== true) return 'none';
  if (exclusive > room.freeOn(node)) return 'free';
  if (exclusive > room.poolSize - 1) return 'hostPool';
  const left = room.milliLeftOn(node) - exclusive * 1000;
  if (exclusive > room.takableOn(node) || (exclusive > 0 && left < 0)) return 'boundPool';
  if (!need.shared) return undefined;
  if (room.poolOn(node) - exclusive < 1) return 'ownPool';
  return left < need.milli ? 'milli' : undefined;
}

/** Whether the node's memory may not be handed out at all, to a pod that is to be bound to some. */
export function hasNoMemory(room: Room, node: number, need: Need): boolean {
  return need.memory !== undefined && room.machine.nodes[node]?.hasMemory !== true;
}

/** Whether the node has less memory left than is needed; on a host that does not say how much it has, none does. */
export function lacksMemory(room: Room, node: number, need: Need): boolean {
  return need.memory !== undefined && !room.machine.memoryUnknown && room.memoryLeftOn(node) < need.memory;
}

/** Whether the node has less left in pages of that size. */
export function lacksPages(room: Room, node: number, size: number, amount: number): boolean {
  return room.hugepagesLeftOn(node, size) < amount;
}

/** Whether the node alone can take it. */
export function canTake(room: Room, node: number, need: Need): boolean {
  if (cpuLack(room, node, need) !== undefined) return false;
  // Whose memory is not known is bound to no memory, huge pages included.
  if (need.memory === undefined) return true;
  if (hasNoMemory(room, node, need) || lacksMemory(room, node, need)) return false;
  if (need.hugepages.size === 0) return true;
  for (const [size, amount] of need.hugepages) if (lacksPages(room, node, size, amount)) return false;
  return true;
}
