// Whether a pod fits into a room: by counting where that is enough, else by planning it. Always the planner's answer. Pure.
import { canTake } from '../../agent/cpuset/plan-lacks.ts';
import type { Need } from '../../agent/cpuset/plan-need.ts';
import { sumNeeds } from '../../agent/cpuset/plan-need.ts';
import { refuseOneNode } from '../../agent/cpuset/plan-place.ts';
import { planPod } from '../../agent/cpuset/plan-pod.ts';
import type { Room } from '../../agent/cpuset/room.ts';
import type { PodAsk } from './plan-ask.ts';

/** undefined: it fits. Else the planner's reason. */
export type WhyNot = string | undefined;

/** Whether one NUMA node has all of it: what `planNodes` finds out when it may take one node, without choosing among them. */
function fitsOneNode(room: Room, need: Need): boolean {
  for (let node = 0; node < room.machine.nodes.length; node += 1) if (canTake(room, node, need)) return true;
  return false;
}

/** @returns what a creation in this room would be refused with; undefined when it would succeed */
export function planFit(room: Room, ask: PodAsk): WhyNot {
  const { together, identity } = ask;
  if (together !== undefined && identity.numa === 'required') {
    return fitsOneNode(room, together) ? undefined : refuseOneNode(room, together).reason;
  }
  const plan = planPod(room, identity, ask.need);
  return plan.ok ? undefined : plan.reason;
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
 * Whether the pod certainly fits wherever on the host the others go: one NUMA node has room for all of them at once.
 * @param all - {@link besideOthers}
 */
export function fitsBeside(room: Room, all: Need): boolean {
  return fitsOneNode(room, all);
}

/**
 * Whether the pod fits after the others, planned one after the other as the node would.
 * @param others - pods that may be going there; one that fits the room alone, but not with those before it, makes the
 *   answer no: it may be the one that goes there
 */
export function fitsAfter(room: Room, ask: PodAsk, others: readonly PodAsk[]): boolean {
  const trial = room.copy();
  for (const other of others) {
    if (!takePlace(trial, other) && planFit(room, other) === undefined) return false;
  }
  return planFit(trial, ask) === undefined;
}
