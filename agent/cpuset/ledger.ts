// Who holds what, in memory. Every method is synchronous, so that nothing comes between a look and a change; what is
// durable, and in which order, is the feature's business.
import { CpuSet } from '../model/cpu-set.ts';
import type { PodUid } from '../model/ids.ts';
import type { PodHolding } from './holding.ts';
import { cpusWhere, type Machine } from './machine.ts';
import { type PlanRules, Room } from './room.ts';

/** Where a container belongs. */
export interface Seat {
  readonly cpus: CpuSet;
  /** NUMA nodes that it is bound to; empty when it is bound to none. */
  readonly nodes: CpuSet;
  readonly exclusive: boolean;
}

export class Ledger {
  readonly room: Room;
  readonly #holdings = new Map<PodUid, PodHolding>();
  readonly #pools = new Map<string, CpuSet>();

  constructor(machine: Machine, rules: PlanRules) {
    this.room = new Room(machine, rules);
  }

  get machine(): Machine {
    return this.room.machine;
  }

  get(uid: PodUid): PodHolding | undefined {
    return this.#holdings.get(uid);
  }

  holdings(): readonly PodHolding[] {
    return [...this.#holdings.values()];
  }

  /**
   * Replaces what the pod holds.
   * @throws HoldfastError BUG when one of the CPUs belongs to another pod; nothing is changed then
   */
  set(holding: PodHolding): void {
    const before = this.#holdings.get(holding.uid);
    if (before !== undefined) this.room.remove(before);
    try {
      this.room.add(holding);
    } catch (error) {
      if (before !== undefined) this.room.add(before);
      throw error;
    }
    this.#holdings.set(holding.uid, holding);
    if (before === undefined || !before.cpus.equals(holding.cpus)) this.#pools.clear();
  }

  /** Puts back what {@link get} returned before. */
  restore(uid: PodUid, before: PodHolding | undefined): void {
    if (before === undefined) this.delete(uid);
    else this.set(before);
  }

  delete(uid: PodUid): void {
    const before = this.#holdings.get(uid);
    if (before === undefined) return;
    this.room.remove(before);
    this.#holdings.delete(uid);
    if (!before.cpus.isEmpty) this.#pools.clear();
  }

  /** A ledger of its own to try something in. */
  copy(): Ledger {
    const copy = new Ledger(this.machine, this.room.rules);
    for (const holding of this.#holdings.values()) copy.set(holding);
    return copy;
  }

  /** A copy of the room without what the pod holds. */
  roomWithout(uid: PodUid): Room {
    const room = this.room.copy();
    const own = this.#holdings.get(uid);
    if (own !== undefined) room.remove(own);
    return room;
  }

  /** The pod that owns one of the CPUs, itself aside. */
  ownerOf(cpus: CpuSet, aside: PodUid): PodHolding | undefined {
    for (const holding of this.#holdings.values()) {
      if (holding.uid !== aside && holding.cpus.overlaps(cpus)) return holding;
    }
    return undefined;
  }

  /**
   * Every CPU that shared containers may use has an owner: the host lost CPUs. Nothing can be owned anew until one is
   * free again.
   */
  get isPoolExhausted(): boolean {
    return this.room.poolSize === 0;
  }

  /**
   * CPUs of shared containers; of those bound to nodes, when there are any. Never empty: the kernel and the runtime take
   * an empty set for "anywhere". When the pool is exhausted, owners share the reserved CPUs, or all that there are.
   */
  pool(nodes: CpuSet = CpuSet.EMPTY): CpuSet {
    const key = nodes.toString();
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const positions = [...nodes].flatMap((node) => this.machine.nodePositions.get(node) ?? []);
    const there = nodes.isEmpty ? CpuSet.EMPTY : this.room.poolCpus(positions);
    const anywhere = there.isEmpty ? this.room.poolCpus() : there;
    const cpus = anywhere.isEmpty ? this.#lastResort() : anywhere;
    this.#pools.set(key, cpus);
    return cpus;
  }

  /** Where a container belongs; one that holds nothing is in the shared pool of its pod's nodes. */
  seatOf(uid: PodUid, name: string): Seat {
    const pod = this.#holdings.get(uid);
    const container = pod?.containers.get(name);
    const nodes = container?.nodes ?? pod?.nodes ?? CpuSet.EMPTY;
    if (container !== undefined && !container.cpus.isEmpty) return { cpus: container.cpus, nodes, exclusive: true };
    return { cpus: this.pool(nodes), nodes, exclusive: false };
  }

  /** Of the nodes, those whose memory may be handed out. */
  memsOf(nodes: CpuSet): CpuSet {
    return nodes.filter((node) => {
      const position = this.machine.nodePositions.get(node);
      return position !== undefined && this.machine.nodes[position]?.hasMemory === true;
    });
  }

  #lastResort(): CpuSet {
    const { machine } = this;
    if (!machine.reservedCpus.isEmpty) return machine.reservedCpus;
    return cpusWhere(machine, (position) => machine.pooled[position] === 1);
  }
}
