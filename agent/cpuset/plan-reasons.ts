// Why something does not fit, in words for `kubectl describe pod`.
import { type Bytes, formatBytes } from '../model/quantity.ts';
import { cpuLack, hasNoMemory, lacksMemory, lacksPages } from './plan-lacks.ts';
import type { Need } from './plan-need.ts';
import type { Room } from './room.ts';

export interface NodeReason {
  /** Number of the node. */
  readonly node: number;
  readonly reason: string;
}

/** A request that cannot be met, with the reason as a whole and for each NUMA node. */
export interface Refusal {
  readonly ok: false;
  readonly reason: string;
  readonly nodeReasons: readonly NodeReason[];
}

/** An event's message is cut at 1024 characters by Kubernetes. */
const MOST_NODES = 12;

export function formatMemory(value: number): string {
  return formatBytes(value as Bytes);
}

/** `1.2 GiB of 4 GiB`, in a unit in which the two differ. */
function partOf(left: number, wanted: number): string {
  if (formatMemory(left) !== formatMemory(wanted)) return `${formatMemory(left)} of ${formatMemory(wanted)}`;
  const inMib = (value: number): number => Math.floor(value / 2 ** 20);
  if (inMib(left) !== inMib(wanted)) return `${inMib(left)} MiB of ${inMib(wanted)} MiB`;
  return `${left} of ${wanted} bytes of`;
}

function cpus(count: number): string {
  return count === 1 ? '1 CPU' : `${count} CPUs`;
}

/** A scheduler asks thousands of hosts for one need. */
const described = new WeakMap<Need, string>();

/** `4 exclusive CPUs, 0.5 of shared CPU and 4 GiB of memory` */
export function describeNeed(need: Need): string {
  const known = described.get(need) ?? wordNeed(need);
  described.set(need, known);
  return known;
}

function wordNeed(need: Need): string {
  const parts: string[] = [];
  if (need.exclusive > 0) parts.push(need.exclusive === 1 ? '1 exclusive CPU' : `${need.exclusive} exclusive CPUs`);
  if (need.milli > 0) parts.push(`${need.milli / 1000} of shared CPU`);
  if (need.memory !== undefined && need.memory > 0) parts.push(`${formatMemory(need.memory)} of memory`);
  for (const [size, amount] of need.hugepages) {
    if (amount > 0) parts.push(`${formatMemory(amount)} in pages of ${formatMemory(size)}`);
  }
  if (parts.length === 0) return 'CPUs';
  const last = parts.pop();
  return parts.length === 0 ? `${last}` : `${parts.join(', ')} and ${last}`;
}

function whyNoCpus(room: Room, node: number, need: Need): string | undefined {
  const free = room.freeOn(node);
  switch (cpuLack(room, node, need)) {
    case undefined:
      return undefined;
    case 'none':
      return 'has no CPUs';
    case 'free':
      return `${free} of ${cpus(need.exclusive)} free`;
    case 'hostPool':
      return `${cpus(free)} free, but the host's shared pool needs one`;
    case 'boundPool':
      return `${cpus(free)} free, but its shared pool needs ${cpus(free - room.takableOn(node))} of them`;
    case 'ownPool':
      return 'no CPU left for its shared pool';
    case 'milli': {
      const left = Math.max(0, room.milliLeftOn(node) - need.exclusive * 1000);
      return `${left / 1000} of ${cpus(need.milli / 1000)} left in its shared pool`;
    }
  }
}

function whyNoMemory(room: Room, node: number, need: Need): readonly string[] {
  if (need.memory === undefined) return [];
  if (hasNoMemory(room, node, need)) return ['has no memory'];
  const reasons: string[] = [];
  if (lacksMemory(room, node, need)) reasons.push(`${partOf(room.memoryLeftOn(node), need.memory)} memory left`);
  for (const [size, amount] of need.hugepages) {
    if (!lacksPages(room, node, size, amount)) continue;
    reasons.push(`${partOf(room.hugepagesLeftOn(node, size), amount)} left in pages of ${formatMemory(size)}`);
  }
  return reasons;
}

/** Why the node alone cannot take it; undefined when it can, as `canTake` says without the words. */
export function whyNot(room: Room, node: number, need: Need): string | undefined {
  const noCpus = whyNoCpus(room, node, need);
  const noMemory = whyNoMemory(room, node, need);
  if (noMemory.length === 0) return noCpus;
  return noCpus === undefined ? noMemory.join(' and ') : `${noCpus} and ${noMemory.join(' and ')}`;
}

/** `node 0: 2 of 4 CPUs free; node 1: …` */
export function joinReasons(reasons: readonly NodeReason[]): string {
  const shown = reasons.slice(0, MOST_NODES).map(({ node, reason }) => `node ${node}: ${reason}`);
  const more = reasons.length - shown.length;
  return more > 0 ? `${shown.join('; ')}; and ${more} more nodes` : shown.join('; ');
}

/** Each node's reason. */
export function reasonsOf(room: Room, need: Need): readonly NodeReason[] {
  return room.machine.nodes.map(({ id }, node) => ({ node: id, reason: whyNot(room, node, need) ?? 'has room' }));
}
