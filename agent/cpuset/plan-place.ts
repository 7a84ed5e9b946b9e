// Places one group of containers: nodes, CPUs, and what is promised on each node. Pure; the room is only read.
import { CpuSet } from '../model/cpu-set.ts';
import type { NumaPolicy } from '../model/policy.ts';
import type { Claim, NodeShare } from './holding.ts';
import type { Domain } from './machine.ts';
import { planExclusive } from './plan-exclusive.ts';
import type { Need } from './plan-need.ts';
import { fits, planNodes, takable } from './plan-nodes.ts';
import { describeNeed, joinReasons, type Refusal, reasonsOf, whyNot } from './plan-reasons.ts';
import type { Room } from './room.ts';

export interface Placed extends Claim {
  readonly ok: true;
  readonly cpus: CpuSet;
  /** What people should know, when it is less than what was preferred. */
  readonly note?: string;
}

export type Placement = Placed | Refusal;

/** The nodes as one domain, without the CPUs that a node's pool must keep. */
function chooseCpus(room: Room, nodes: readonly number[], need: Need): CpuSet {
  const { machine } = room;
  if (need.exclusive === 0) return CpuSet.EMPTY;
  const free = Uint8Array.from(room.free);
  const parts = nodes.map((node) => machine.nodes[node]?.domain).filter((part) => part !== undefined);
  for (const node of nodes.length === 1 ? [] : nodes) {
    keepForPool(free, machine.nodes[node]?.allocatable ?? [], room.freeOn(node) - takable(room, node, need));
  }
  const [only] = parts;
  const domain: Domain =
    parts.length === 1 && only !== undefined ? only : { cores: parts.flatMap((part) => part.cores), parts };
  const picked = planExclusive(machine, domain, free, need.exclusive);
  return CpuSet.from((picked ?? []).map((position) => machine.cpuIds[position] ?? -1));
}

/** Crosses out the last free CPUs: those that would be taken last anyway. */
function keepForPool(free: Uint8Array, allocatable: readonly number[], count: number): void {
  let left = count;
  for (const position of allocatable.toReversed()) {
    if (left <= 0) return;
    if (free[position] !== 1) continue;
    free[position] = 0;
    left -= 1;
  }
}

/** Divides an amount over the nodes: as much as the first has, then the next. */
function pour(amount: number, nodes: readonly number[], left: (node: number) => number): ReadonlyMap<number, number> {
  const parts = new Map<number, number>();
  let rest = amount;
  for (const node of nodes) {
    const part = Math.max(0, Math.min(rest, left(node)));
    parts.set(node, part);
    rest -= part;
  }
  return parts;
}

/** What is promised on each node. Nodes where the CPUs are come first: memory is best beside them. */
function promise(room: Room, nodes: readonly number[], need: Need, cpus: CpuSet): readonly NodeShare[] {
  const { machine } = room;
  const ownCpus = new Map<number, number>();
  for (const cpu of cpus) {
    const node = machine.nodeOf[machine.positions.get(cpu) ?? -1] ?? -1;
    ownCpus.set(node, (ownCpus.get(node) ?? 0) + 1);
  }
  const order = nodes.toSorted((a, b) => (ownCpus.get(b) ?? 0) - (ownCpus.get(a) ?? 0));
  const [first] = order;
  const memoryLeft = (node: number): number =>
    machine.memoryUnknown ? Number.MAX_SAFE_INTEGER : room.memoryLeftOn(node);
  const memory = pour(need.memory ?? 0, order, memoryLeft);
  const milli = pour(need.milli, order, (node) => room.milliLeftOn(node) - (ownCpus.get(node) ?? 0) * 1000);
  const pages = [...need.hugepages].map(
    ([size, amount]) =>
      [size, pour(amount, order, (node) => wholePages(room.hugepagesLeftOn(node, size), size))] as const,
  );
  return order.map(
    (node): NodeShare => ({
      node: machine.nodes[node]?.id ?? -1,
      memory: memory.get(node) ?? 0,
      milli: milli.get(node) ?? 0,
      shared: need.shared && (machine.nodes[node]?.hasCpus === true || node === first),
      hugepages: new Map(
        pages.map(([size, parts]) => [size, parts.get(node) ?? 0] as const).filter(([, amount]) => amount > 0),
      ),
    }),
  );
}

function wholePages(left: number, size: number): number {
  return left - (left % size);
}

function bound(room: Room, nodes: readonly number[], need: Need): Placed {
  const cpus = chooseCpus(room, nodes, need);
  return {
    ok: true,
    cpus,
    nodes: CpuSet.from(nodes.map((node) => room.machine.nodes[node]?.id ?? -1)),
    shares: promise(room, nodes, need, cpus),
    unboundMemory: 0,
  };
}

/**
 * The refusal of what must come from one node and cannot.
 * @param within - as for {@link place}
 */
export function refuseOneNode(room: Room, need: Need, within?: readonly number[]): Refusal {
  const nodeReasons =
    within === undefined
      ? reasonsOf(room, need)
      : within.map((node) => ({
          node: room.machine.nodes[node]?.id ?? -1,
          reason: whyNot(room, node, need) ?? 'has room',
        }));
  const where = within === undefined ? 'no NUMA node has room' : 'the NUMA node of its pod has no room';
  return {
    ok: false,
    reason: `${describeNeed(need)} must come from one NUMA node (numa: required), and ${where}: ${joinReasons(nodeReasons)}`,
    nodeReasons,
  };
}

function refuseCpus(room: Room, need: Need): Refusal {
  const cpusOnly: Need = { ...need, milli: 0, shared: false, memory: undefined, hugepages: new Map() };
  const nodeReasons = reasonsOf(room, cpusOnly);
  const free = room.machine.nodes.reduce((sum, _, node) => sum + room.freeOn(node), 0);
  const takableCpus = room.machine.nodes.reduce((sum, _, node) => sum + room.takableOn(node), 0);
  const most = Math.min(takableCpus, room.poolSize - 1);
  const why =
    free < need.exclusive
      ? `${free} are free`
      : `${free} are free, of which ${free - most} must stay for shared containers`;
  return {
    ok: false,
    reason: `${describeNeed(cpusOnly)} cannot be had, ${why}: ${joinReasons(nodeReasons)}`,
    nodeReasons,
  };
}

/** CPUs on the fewest nodes, bound to none. */
function unbound(room: Room, need: Need, note?: string): Placement {
  const claim = { nodes: CpuSet.EMPTY, shares: [], unboundMemory: need.memory ?? 0 };
  const told = note === undefined ? {} : { note };
  if (need.exclusive === 0) return { ok: true, cpus: CpuSet.EMPTY, ...claim, ...told };
  const cpusOnly: Need = { ...need, milli: 0, shared: false, memory: undefined, hugepages: new Map() };
  const nodes = planNodes(room, cpusOnly, Number.POSITIVE_INFINITY);
  if (nodes === undefined) return refuseCpus(room, need);
  return { ok: true, cpus: chooseCpus(room, nodes, cpusOnly), ...claim, ...told };
}

/**
 * Places what belongs together.
 *
 * `required`: all from one node, or refused with each node's reason. `preferred`: from one node, else the fewest and
 * nearest; when no nodes have room for the memory too, bound to none, with a note. `none`: bound to no node. Exclusive
 * CPUs are refused under any policy when the host has too few.
 *
 * @param within - the nodes (positions) that an earlier container decided for the pod
 */
export function place(room: Room, need: Need, policy: NumaPolicy, within?: readonly number[]): Placement {
  switch (policy) {
    case 'none':
      return unbound(room, need);
    case 'required': {
      const nodes = within ?? planNodes(room, need, 1);
      if (nodes === undefined || (within !== undefined && !fits(room, within, need))) {
        return refuseOneNode(room, need, within);
      }
      return bound(room, nodes, need);
    }
    case 'preferred': {
      if (within !== undefined && fits(room, within, need)) return bound(room, within, need);
      const nodes = planNodes(room, need, Number.POSITIVE_INFINITY);
      if (nodes !== undefined) return bound(room, nodes, need);
      const note = `${describeNeed(need)} fits no NUMA nodes together (numa: preferred): bound to none`;
      return unbound(room, need, note);
    }
  }
}
