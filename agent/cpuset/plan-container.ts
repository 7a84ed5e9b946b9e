// Plans one container that is about to be created, in the light of what its pod holds already. Pure.
import { CpuSet } from '../model/cpu-set.ts';
import { type ContainerHolding, NO_CLAIM, type PodHolding } from './holding.ts';
import { allot, reusableCpus } from './plan-allot.ts';
import type { ContainerAsk, Need } from './plan-need.ts';
import { place } from './plan-place.ts';
import type { PodPlan } from './plan-pod.ts';
import type { Room } from './room.ts';

function withContainer(holding: PodHolding, name: string, container: ContainerHolding | undefined): PodHolding {
  const containers = new Map(holding.containers);
  if (container === undefined) containers.delete(name);
  else containers.set(name, container);
  return { ...holding, containers };
}

function allocatable(room: Room, cpus: CpuSet): boolean {
  return [...cpus].every((cpu) => room.machine.allocatable[room.machine.positions.get(cpu) ?? -1] === 1);
}

/** Whether what the container holds is still what it needs: an attempt that follows another keeps its CPUs and nodes. */
function isSame(room: Room, held: ContainerHolding, ask: ContainerAsk): boolean {
  if (held.cpuset !== ask.cpuset || held.cpus.size !== ask.need.exclusive || !allocatable(room, held.cpus))
    return false;
  const memory = held.shares.reduce((sum, share) => sum + share.memory, held.unboundMemory);
  const milli = held.shares.reduce((sum, share) => sum + share.milli, 0);
  return memory === (ask.need.memory ?? 0) && (held.nodes.isEmpty || milli === ask.need.milli);
}

/** The pod's CPUs without those that only this container has. */
function cpusWithout(holding: PodHolding, name: string): CpuSet {
  let others = CpuSet.EMPTY;
  for (const [other, { cpus }] of holding.containers) if (other !== name) others = others.union(cpus);
  const own = holding.containers.get(name)?.cpus ?? CpuSet.EMPTY;
  return holding.basis === 'containers' ? others : holding.cpus.minus(own.minus(others));
}

/** The nodes that hold the pod, by position. */
function podNodes(room: Room, holding: PodHolding): readonly number[] | undefined {
  const nodes = [...holding.nodes].flatMap((node) => room.machine.nodePositions.get(node) ?? []);
  return nodes.length === 0 ? undefined : nodes;
}

/** A container that the pod's own claim covers: it may need CPUs, nothing else. */
function planCovered(room: Room, holding: PodHolding, ask: ContainerAsk): PodPlan {
  const held = holding.containers.get(ask.name);
  const alone = ask.numaScope === 'container';
  if (ask.cpuset === 'shared') {
    // An entry of its own keeps it apart from the pod's nodes.
    const entry = alone ? { ...NO_CLAIM, kind: ask.kind, cpuset: ask.cpuset, cpus: CpuSet.EMPTY } : undefined;
    const same = held?.cpuset === entry?.cpuset;
    return { ok: true, holding: same ? holding : withContainer(holding, ask.name, entry) };
  }
  const { exclusive } = ask.need;
  if (held?.cpuset === 'exclusive' && held.cpus.size === exclusive && allocatable(room, held.cpus)) {
    return { ok: true, holding };
  }
  const within = alone ? undefined : podNodes(room, holding);
  const reusable = reusableCpus(holding, ask.name, ask.kind).filter((cpu) => allocatable(room, CpuSet.of(cpu)));
  const missing = Math.max(0, exclusive - reusable.size);
  const cpusOnly: Need = { exclusive: missing, milli: 0, shared: false, memory: undefined, hugepages: new Map() };
  const placed = place(room, cpusOnly, missing === 0 || within === undefined ? 'none' : holding.numa, within);
  if (!placed.ok) return placed;
  const cpus = allot(room.machine, reusable.union(placed.cpus), exclusive);
  const nodes = alone ? CpuSet.EMPTY : holding.nodes;
  const container: ContainerHolding = { ...NO_CLAIM, nodes, kind: ask.kind, cpuset: 'exclusive', cpus };
  const grown = { ...holding, cpus: holding.cpus.union(placed.cpus) };
  return { ok: true, holding: withContainer(grown, ask.name, container) };
}

/** A container that claims for itself: its annotation's scope is the container, or nothing was known of the pod. */
function planOwn(room: Room, holding: PodHolding, ask: ContainerAsk): PodPlan {
  const held = holding.containers.get(ask.name);
  if (held !== undefined && isSame(room, held, ask)) return { ok: true, holding };
  const trial = room.copy();
  const rest: PodHolding = { ...withContainer(holding, ask.name, undefined), cpus: cpusWithout(holding, ask.name) };
  trial.giveCpus(holding.cpus.minus(rest.cpus));
  if (held !== undefined) trial.removeClaim(held);

  const podWide = ask.numaScope === 'pod';
  const within = podWide ? podNodes(room, holding) : undefined;
  const reusable = within !== undefined || ask.numa === 'none' ? reusableCpus(rest, ask.name, ask.kind) : CpuSet.EMPTY;
  const missing = Math.max(0, ask.need.exclusive - reusable.size);
  const placed = place(trial, { ...ask.need, exclusive: missing }, ask.numa, within);
  if (!placed.ok) return placed;
  const cpus = allot(room.machine, reusable.union(placed.cpus), ask.need.exclusive);
  const { nodes, shares, unboundMemory, note } = placed;
  const container: ContainerHolding = { kind: ask.kind, cpuset: ask.cpuset, cpus, nodes, shares, unboundMemory };
  const next = {
    ...rest,
    cpus: rest.cpus.union(placed.cpus),
    // The first container decides for the pod.
    nodes: podWide && holding.nodes.isEmpty ? nodes : holding.nodes,
    ...(note === undefined ? {} : { note }),
  };
  return { ok: true, holding: withContainer(next, ask.name, container) };
}

/**
 * What the pod holds once the container has what it needs.
 * @param room - what is left on the host, the pod's holding taken off; only read
 */
export function planContainer(room: Room, holding: PodHolding, ask: ContainerAsk): PodPlan {
  const own = holding.basis === 'containers' || (ask.numaScope === 'container' && ask.numa !== 'none');
  return own ? planOwn(room, holding, ask) : planCovered(room, holding, ask);
}
