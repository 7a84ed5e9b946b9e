// Which NUMA nodes: one when one fits, else the fewest and nearest. Pure; nodes are positions in Machine.nodes.
import { supplyOf } from './plan-exclusive.ts';
import { canTake } from './plan-lacks.ts';
import type { Need } from './plan-need.ts';
import { planPacking, wholeCpus } from './plan-packing.ts';
import type { Room } from './room.ts';

/** Sets of nodes that are looked at per size; hosts with more nodes than fit get the nearest-first search. */
const MOST_SETS = 5000;

/** CPUs that may be taken from the node when the containers of `need` are bound to it. */
export function takable(room: Room, node: number, need: Need): number {
  const forPool = need.shared ? room.poolOn(node) - 1 : Number.POSITIVE_INFINITY;
  return Math.max(0, Math.min(room.takableOn(node), forPool));
}

/** Whether the nodes together can take it. */
export function fits(room: Room, nodes: readonly number[], need: Need): boolean {
  const [first] = nodes;
  if (first === undefined) return false;
  if (nodes.length === 1) return canTake(room, first, need);
  const { machine } = room;
  const withCpus = nodes.filter((node) => machine.nodes[node]?.hasCpus === true);
  const sum = (of: (node: number) => number, over = nodes): number => over.reduce((total, node) => total + of(node), 0);
  if (withCpus.length === 0 || need.exclusive > room.poolSize - 1) return false;
  if (need.exclusive > sum((node) => takable(room, node, need), withCpus)) return false;
  if (need.shared) {
    if (withCpus.some((node) => room.poolOn(node) < 1)) return false;
    if (sum((node) => room.milliLeftOn(node), withCpus) - need.exclusive * 1000 < need.milli) return false;
  }
  if (need.memory === undefined) return true;
  if (!nodes.some((node) => machine.nodes[node]?.hasMemory === true)) return false;
  if (!machine.memoryUnknown && sum((node) => room.memoryLeftOn(node)) < need.memory) return false;
  return [...need.hugepages].every(([size, amount]) => sum((node) => pagesOn(room, node, size)) >= amount);
}

/** Bytes in whole pages. */
function pagesOn(room: Room, node: number, size: number): number {
  const left = room.hugepagesLeftOn(node, size);
  return left - (left % size);
}

/** Orders sets of nodes of one size; the smaller tuple is the better set. */
function rank(room: Room, nodes: readonly number[], need: Need): readonly number[] {
  const { machine, rules } = room;
  const sum = (of: (node: number) => number): number => nodes.reduce((total, node) => total + of(node), 0);
  const distance = sum((node) => sum((other) => machine.nodes[node]?.distances[other] ?? 0));
  let whole = 0;
  if (need.exclusive > 0 && nodes.length === 1) {
    for (const node of nodes) {
      const domain = machine.nodes[node]?.domain;
      const packing = domain && planPacking(supplyOf(machine, domain, room.free), need.exclusive);
      if (packing !== undefined) whole += wholeCpus(packing.whole);
    }
  }
  const memory = sum((node) => room.memoryLeftOn(node));
  const milli = sum((node) => room.milliLeftOn(node));
  const room1 = need.exclusive > 0 ? sum((node) => room.freeOn(node)) : need.milli > 0 ? milli : memory;
  const sign = rules.strategy === 'spread' ? -1 : 1;
  return [distance, -whole, sign * room1, sign * memory, sign * milli];
}

function isLess(a: readonly number[], b: readonly number[]): boolean {
  const index = a.findIndex((value, at) => value !== b[at]);
  return index >= 0 && (a[index] ?? 0) < (b[index] ?? 0);
}

function* combinations(items: readonly number[], size: number, from = 0): Generator<readonly number[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let index = from; index <= items.length - size; index += 1) {
    const item = items[index];
    if (item === undefined) return;
    for (const rest of combinations(items, size - 1, index + 1)) yield [item, ...rest];
  }
}

function combinationCount(from: number, size: number): number {
  let count = 1;
  for (let index = 0; index < size; index += 1) count = (count * (from - index)) / (index + 1);
  return count;
}

/** How many of the largest values it takes to reach the sum; more than there are when all of them do not. */
function countToReach(values: readonly number[], sum: number): number {
  let left = sum;
  let count = 0;
  for (const value of values.toSorted((a, b) => b - a)) {
    if (left <= 0) return count;
    left -= value;
    count += 1;
  }
  return left <= 0 ? count : values.length + 1;
}

/** No set of fewer nodes than this can do: spares looking at them. */
function fewestPossible(room: Room, candidates: readonly number[], need: Need): number {
  const cpus = candidates.map((node) => takable(room, node, need));
  const memory = room.machine.memoryUnknown ? [] : candidates.map((node) => room.memoryLeftOn(node));
  return Math.max(
    1,
    countToReach(cpus, need.exclusive),
    memory.length === 0 || need.memory === undefined ? 1 : countToReach(memory, need.memory),
  );
}

/** For each node the set of it and those that follow in two orders: nearest first, and most free CPUs first. */
function grownSets(room: Room, candidates: readonly number[], size: number): readonly (readonly number[])[] {
  return candidates.flatMap((seed) => {
    const others = candidates.filter((node) => node !== seed);
    const distance = (node: number): number => room.machine.nodes[seed]?.distances[node] ?? 0;
    const grow = (order: readonly number[]): readonly number[] =>
      [seed, ...order.slice(0, size - 1)].sort((a, b) => a - b);
    return [
      grow(others.toSorted((a, b) => distance(a) - distance(b))),
      grow(others.toSorted((a, b) => room.takableOn(b) - room.takableOn(a) || distance(a) - distance(b))),
    ];
  });
}

/**
 * The fewest nodes that can take it; among as few the nearest to each other; among those the ones where most cores stay
 * whole; then as the strategy says; then the lowest numbers.
 *
 * @param most - how many nodes it may be
 * @returns positions, ascending; undefined when it fits nowhere
 */
export function planNodes(room: Room, need: Need, most: number): readonly number[] | undefined {
  const candidates = room.machine.nodes.flatMap((node, index) => (node.hasCpus || node.hasMemory ? [index] : []));
  for (let size = fewestPossible(room, candidates, need); size <= Math.min(most, candidates.length); size += 1) {
    const few = combinationCount(candidates.length, size) <= MOST_SETS;
    const sets = few ? combinations(candidates, size) : grownSets(room, candidates, size);
    let best: { readonly nodes: readonly number[]; readonly rank: readonly number[] } | undefined;
    for (const nodes of sets) {
      if (!fits(room, nodes, need)) continue;
      const own = rank(room, nodes, need);
      if (best === undefined || isLess(own, best.rank)) best = { nodes, rank: own };
    }
    if (best !== undefined) return best.nodes;
  }
  return undefined;
}
