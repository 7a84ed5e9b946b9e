// Whether a pod fits into a room, and beside others that may be coming there: nobody knows which of them come, and in
// which order the node gets them. By counting where that is enough, else by planning. Always the planner's answer. Pure.
import { canTake } from '../../agent/cpuset/plan-lacks.ts';
import { type Need, sumNeeds } from '../../agent/cpuset/plan-need.ts';
import { refuseOneNode } from '../../agent/cpuset/plan-place.ts';
import { planPod } from '../../agent/cpuset/plan-pod.ts';
import type { Room } from '../../agent/cpuset/room.ts';
import type { PodAsk } from './plan-ask.ts';

/** undefined: it fits. Else the planner's reason. */
export type WhyNot = string | undefined;

/** Others of whom every order is planned: no more than 40 placements. One more would be five times that. */
const MOST_ORDERED = 3;

/** Whether one NUMA node has all of it: what `planNodes` finds out when it may take one node, without choosing among them. */
function fitsOneNode(room: Room, need: Need): boolean {
  for (let node = 0; node < room.machine.nodes.length; node += 1) if (canTake(room, node, need)) return true;
  return false;
}

/** What is placed on one NUMA node as a whole or not at all. */
function oneNodeNeed({ together, identity }: PodAsk): Need | undefined {
  return identity.numa === 'required' ? together : undefined;
}

/** @returns what a creation in this room would be refused with; undefined when it would succeed */
export function planFit(room: Room, ask: PodAsk): WhyNot {
  const need = oneNodeNeed(ask);
  if (need !== undefined) return fitsOneNode(room, need) ? undefined : refuseOneNode(room, need).reason;
  const plan = planPod(room, ask.identity, ask.need);
  return plan.ok ? undefined : plan.reason;
}

/** As {@link planFit}, without the words. */
function hasRoom(room: Room, ask: PodAsk): boolean {
  const need = oneNodeNeed(ask);
  return need === undefined ? planPod(room, ask.identity, ask.need).ok : fitsOneNode(room, need);
}

/**
 * Takes what the pod will hold out of the room.
 * @returns false when it does not fit; the room is unchanged then
 */
export function takePlace(room: Room, ask: PodAsk): boolean {
  const plan = planPod(room, ask.identity, ask.need);
  if (plan.ok) room.add(plan.holding);
  return plan.ok;
}

/**
 * What the pod needs of one NUMA node, and with it all that the others can take of the same one.
 * @returns undefined when counting cannot say where the pod fits
 */
export function besideOthers(ask: PodAsk, others: readonly PodAsk[]): Need | undefined {
  if (ask.together === undefined) return undefined;
  const policy = { kind: 'app', cpuset: 'shared', numa: 'required', numaScope: 'pod' } as const;
  const needs = [ask.together, ...others.map(({ most }) => most)];
  return sumNeeds(needs.map((need, index) => ({ ...policy, name: `${index}`, need })));
}

/**
 * Whether the pod certainly fits wherever on the host the others go, and takes the place of none of them: one NUMA node
 * has room for all of them at once.
 * @param all - {@link besideOthers}
 */
export function fitsBeside(room: Room, all: Need): boolean {
  return fitsOneNode(room, all);
}

function nodesFor(room: Room, need: Need): number {
  let count = 0;
  for (let node = 0; node < room.machine.nodes.length; node += 1) if (canTake(room, node, need)) count += 1;
  return count;
}

/** Whether each of them has room on as many NUMA nodes as there are pods: every pod takes of one alone, so one is left. */
function haveNodesToSpare(room: Room, pods: readonly PodAsk[]): boolean {
  let exclusive = 0;
  for (const pod of pods) {
    const need = oneNodeNeed(pod);
    if (need === undefined || nodesFor(room, need) < pods.length) return false;
    exclusive += need.exclusive;
  }
  // The host's shared pool is what a pod takes of all nodes.
  return exclusive <= room.poolSize - 1;
}

function fitsWithAll(room: Room, pods: readonly PodAsk[]): boolean {
  const [first, ...others] = pods;
  const all = first !== undefined && pods.every(oneNodeNeed) ? besideOthers(first, others) : undefined;
  return all !== undefined && fitsBeside(room, all);
}

/**
 * @param hopeless - those for whom there was no room before anybody came: refusing them is nobody's fault
 */
function fitInEveryOrder(room: Room, pods: readonly PodAsk[], hopeless: ReadonlySet<PodAsk>): boolean {
  if (pods.some((pod) => !hopeless.has(pod) && !hasRoom(room, pod))) return false;
  if (pods.length === 1 || haveNodesToSpare(room, pods) || fitsWithAll(room, pods)) return true;
  const tried = new Set<string>();
  return pods.every((next) => {
    // Those that ask for the same leave the same behind.
    if (tried.has(next.key)) return true;
    tried.add(next.key);
    const after = room.copy();
    // One that finds no room takes nothing.
    if (!takePlace(after, next)) return true;
    const left = pods.filter((pod) => pod !== next);
    return fitInEveryOrder(after, left, hopeless);
  });
}

/**
 * Whether the pod fits whichever of the others come, in whatever order, and none that would fit is refused because of it:
 * one that was promised a place may come later than the pod that asks now.
 * @param others - pods that may be going there; of more than three only counting can say yes
 */
export function fitsAfter(room: Room, ask: PodAsk, others: readonly PodAsk[]): boolean {
  const pods = [ask, ...others];
  if (haveNodesToSpare(room, pods)) return true;
  if (others.length > MOST_ORDERED) return false;
  // Who needs more of a node than any has left finds no more of it later.
  const hopeless = new Set(others.filter((other) => oneNodeNeed(other) !== undefined && !hasRoom(room, other)));
  return fitInEveryOrder(room, pods, hopeless);
}
