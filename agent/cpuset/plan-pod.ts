// Plans a whole pod before its sandbox is made: from its spec, else from the sums in the sandbox's config. Pure.
import { createHash } from 'node:crypto';
import { CpuSet } from '../model/cpu-set.ts';
import type { PodUid } from '../model/ids.ts';
import type { NumaPolicy } from '../model/policy.ts';
import { type ContainerHolding, NO_CLAIM, type PodHolding } from './holding.ts';
import { allot, reusableCpus } from './plan-allot.ts';
import { type ContainerAsk, type Need, sumNeeds } from './plan-need.ts';
import { type Placement, place } from './plan-place.ts';
import type { Refusal } from './plan-reasons.ts';
import type { Room } from './room.ts';

export interface PodIdentity {
  readonly uid: PodUid;
  readonly namespace: string;
  readonly name: string;
  /** The pod's own policy; containers may have others. */
  readonly numa: NumaPolicy;
}

/** What is known of a pod before its first container. */
export type PodNeed =
  | { readonly basis: 'spec'; readonly containers: readonly ContainerAsk[] }
  | { readonly basis: 'sums'; readonly need: Need }
  | { readonly basis: 'containers' };

export type PodPlan = { readonly ok: true; readonly holding: PodHolding } | Refusal;

function describeNumbers({ exclusive, milli, memory, hugepages }: Need): readonly unknown[] {
  return [exclusive, milli, memory ?? null, [...hugepages]];
}

/** What a pod asks for, in short: equal when the plan would be. */
export function describeAsk(numa: NumaPolicy, known: PodNeed): string {
  const numbers =
    known.basis === 'containers'
      ? []
      : known.basis === 'sums'
        ? describeNumbers(known.need)
        : known.containers.map((each) => [
            each.name,
            each.kind,
            each.cpuset,
            each.numa,
            each.numaScope,
            describeNumbers(each.need),
          ]);
  return createHash('sha256')
    .update(JSON.stringify([numa, known.basis, numbers]))
    .digest('base64url')
    .slice(0, 16);
}

/** A pod that holds nothing yet. */
export function emptyHolding({ uid, namespace, name, numa }: PodIdentity, known: PodNeed): PodHolding {
  const { basis } = known;
  const asked = describeAsk(numa, known);
  return { uid, namespace, name, numa, basis, asked, ...NO_CLAIM, cpus: CpuSet.EMPTY, containers: new Map() };
}

/**
 * Whether a pod that gets another sandbox keeps what it holds: unless it asks for something else. What was planned from
 * another source stays: a pod source that comes or goes must not move a pod.
 */
export function keepsHolding(held: PodHolding, pod: PodIdentity, known: PodNeed): boolean {
  return held.numa === pod.numa && (held.basis !== known.basis || held.asked === describeAsk(pod.numa, known));
}

function memoryNote(numa: NumaPolicy, need: Need): string | undefined {
  return numa !== 'none' && need.memory === undefined
    ? 'its memory need is not known (no request, no limit): only CPUs were placed'
    : undefined;
}

function joinNotes(...notes: readonly (string | undefined)[]): { readonly note?: string } {
  const said = notes.filter((note) => note !== undefined);
  return said.length === 0 ? {} : { note: said.join('; ') };
}

/** Required placements come first: they have the least choice. The larger of two exclusive ones comes first. */
const URGENCY: Readonly<Record<NumaPolicy, number>> = { required: 0, preferred: 1, none: 2 };

class SpecPlan {
  readonly #room: Room;
  #holding: PodHolding;
  #refusal: Refusal | undefined;

  constructor(room: Room, pod: PodIdentity, containers: readonly ContainerAsk[]) {
    this.#room = room.copy();
    this.#holding = emptyHolding(pod, { basis: 'spec', containers });
  }

  run(containers: readonly ContainerAsk[]): PodPlan {
    const podWide = containers.filter(({ numaScope, numa }) => numaScope === 'pod' && numa !== 'none');
    const single = containers.filter((container) => !podWide.includes(container));
    const alone = single.filter(({ numa }) => numa !== 'none').toSorted((a, b) => URGENCY[a.numa] - URGENCY[b.numa]);
    const unbound = single.filter(({ numa }) => numa === 'none');
    const steps = [
      ...(podWide.length === 0
        ? []
        : [{ urgency: URGENCY[this.#holding.numa], run: () => this.#placeTogether(podWide) }]),
      ...alone.map((container) => ({ urgency: URGENCY[container.numa], run: () => this.#placeAlone(container) })),
      { urgency: URGENCY.none, run: () => this.#placeUnbound(unbound) },
    ];
    for (const step of steps.toSorted((a, b) => a.urgency - b.urgency)) step.run();
    return this.#refusal ?? { ok: true, holding: this.#holding };
  }

  #place(need: Need, numa: NumaPolicy): Extract<Placement, { ok: true }> | undefined {
    if (this.#refusal !== undefined) return undefined;
    const placed = place(this.#room, need, numa);
    if (!placed.ok) {
      this.#refusal = placed;
      return undefined;
    }
    this.#room.takeCpus(placed.cpus);
    this.#room.addClaim(placed);
    this.#holding = {
      ...this.#holding,
      cpus: this.#holding.cpus.union(placed.cpus),
      ...joinNotes(this.#holding.note, placed.note),
    };
    return placed;
  }

  #put(container: ContainerAsk, held: Pick<ContainerHolding, 'cpus'> & Partial<ContainerHolding>): void {
    const { kind, cpuset, name } = container;
    const containers = new Map(this.#holding.containers).set(name, { ...NO_CLAIM, kind, cpuset, ...held });
    this.#holding = { ...this.#holding, containers };
  }

  #placeTogether(containers: readonly ContainerAsk[]): void {
    const need = sumNeeds(containers);
    const placed = this.#place(need, this.#holding.numa);
    if (placed === undefined) return;
    const { nodes, shares, unboundMemory } = placed;
    const note = joinNotes(this.#holding.note, memoryNote(this.#holding.numa, need));
    this.#holding = { ...this.#holding, nodes, shares, unboundMemory, ...note };
    this.#divide(containers, placed.cpus, nodes);
  }

  /** Those that run together first, the largest first; then the init containers, which take what those have. */
  #divide(containers: readonly ContainerAsk[], cpus: CpuSet, nodes: CpuSet): void {
    const owners = containers.filter(({ cpuset }) => cpuset === 'exclusive');
    const inOrder = owners.toSorted(
      (a, b) => Number(a.kind === 'init') - Number(b.kind === 'init') || b.need.exclusive - a.need.exclusive,
    );
    for (const container of inOrder) {
      const from = reusableCpus(this.#holding, container.name, container.kind).intersect(cpus);
      this.#put(container, { cpus: allot(this.#room.machine, from, container.need.exclusive), nodes });
    }
  }

  #placeAlone(container: ContainerAsk): void {
    const placed = this.#place(container.need, container.numa);
    if (placed === undefined) return;
    const { cpus, nodes, shares, unboundMemory } = placed;
    const note = joinNotes(this.#holding.note, memoryNote(container.numa, container.need));
    this.#holding = { ...this.#holding, ...note };
    this.#put(container, { cpus, nodes, shares, unboundMemory });
  }

  /** Each on the fewest nodes of its own; init containers use what the others will have. */
  #placeUnbound(containers: readonly ContainerAsk[]): void {
    const memory = sumNeeds(containers).memory ?? 0;
    this.#room.addClaim({ ...NO_CLAIM, unboundMemory: memory });
    this.#holding = { ...this.#holding, unboundMemory: this.#holding.unboundMemory + memory };
    const cpusOnly = (count: number): Need => ({ ...sumNeeds([]), exclusive: count });
    const owners = containers.filter(({ cpuset }) => cpuset === 'exclusive');
    let together = CpuSet.EMPTY;
    for (const container of owners
      .filter(({ kind }) => kind !== 'init')
      .toSorted((a, b) => b.need.exclusive - a.need.exclusive)) {
      const placed = this.#place(cpusOnly(container.need.exclusive), 'none');
      if (placed === undefined) return;
      together = together.union(placed.cpus);
      this.#put(container, { cpus: placed.cpus });
    }
    for (const container of owners.filter(({ kind }) => kind === 'init')) {
      const reusable = reusableCpus(this.#holding, container.name, 'init').intersect(together);
      const extra = this.#place(cpusOnly(Math.max(0, container.need.exclusive - reusable.size)), 'none');
      if (extra === undefined) return;
      together = together.union(extra.cpus);
      this.#put(container, {
        cpus: allot(this.#room.machine, reusable.union(extra.cpus), container.need.exclusive),
      });
    }
    for (const container of containers) {
      if (container.cpuset === 'shared' && container.numaScope === 'container') {
        this.#put(container, { cpus: CpuSet.EMPTY });
      }
    }
  }
}

/**
 * Plans what a pod will hold.
 * @param room - what is left on the host; only read
 */
export function planPod(room: Room, pod: PodIdentity, known: PodNeed): PodPlan {
  switch (known.basis) {
    case 'spec':
      return new SpecPlan(room, pod, known.containers).run(known.containers);
    case 'containers':
      return { ok: true, holding: emptyHolding(pod, known) };
    case 'sums': {
      const placed = place(room, known.need, pod.numa);
      if (!placed.ok) return placed;
      const { ok, note, ...claim } = placed;
      const notes = joinNotes(note, memoryNote(pod.numa, known.need));
      return { ok, holding: { ...emptyHolding(pod, known), ...claim, ...notes } };
    }
  }
}
