// Why something does not fit, in words for `kubectl describe pod`.
import { type Bytes, formatBytes } from '../model/quantity.ts';
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

/** `4 exclusive CPUs, 500m of shared CPU and 4 GiB of memory` */
export function describeNeed(need: Need): string {
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
  const here = room.machine.nodes[node];
  if (here === undefined || !here.hasCpus) return 'has no CPUs';
  const free = room.freeOn(node);
  if (need.exclusive > free) return `${free} of ${cpus(need.exclusive)} free`;
  if (need.exclusive > room.poolSize - 1) return `${cpus(free)} free, but the host's shared pool needs one`;
  const left = room.milliLeftOn(node) - need.exclusive * 1000;
  if (need.exclusive > room.takableOn(node) || (need.exclusive > 0 && left < 0)) {
    return `${cpus(free)} free, but its shared pool needs ${cpus(free - room.takableOn(node))} of them`;
  }
  if (!need.shared) return undefined;
  if (room.poolOn(node) - need.exclusive < 1) return 'no CPU left for its shared pool';
  if (left < need.milli) return `${Math.max(0, left) / 1000} of ${cpus(need.milli / 1000)} left in its shared pool`;
  return undefined;
}

function whyNoMemory(room: Room, node: number, need: Need): readonly string[] {
  const here = room.machine.nodes[node];
  if (here === undefined || need.memory === undefined) return [];
  if (!here.hasMemory) return ['has no memory'];
  const reasons: string[] = [];
  const left = room.memoryLeftOn(node);
  if (!room.machine.memoryUnknown && left < need.memory) {
    reasons.push(`${partOf(left, need.memory)} memory left`);
  }
  for (const [size, amount] of need.hugepages) {
    const pages = room.hugepagesLeftOn(node, size);
    if (pages < amount) {
      reasons.push(`${partOf(pages, amount)} left in pages of ${formatMemory(size)}`);
    }
  }
  return reasons;
}

/** Why the node alone cannot take it; undefined when it can. */
export function whyNot(room: Room, node: number, need: Need): string | undefined {
  const noCpus = whyNoCpus(room, node, need);
  const reasons = [...(noCpus === undefined ? [] : [noCpus]), ...whyNoMemory(room, node, need)];
  return reasons.length === 0 ? undefined : reasons.join(' and ');
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
