// What is left on the host once all holdings are taken off: counts per NUMA node that are kept up with every change,
// so that planning never walks over the pods. What was added and is taken away again leaves no trace, in any order.
import { HoldfastError } from '../../lib/errors.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { Claim, NodeShare, PodHolding } from './holding.ts';
import { cpusWhere, type Machine } from './machine.ts';

export interface PlanRules {
  /** Which of the NUMA nodes that have room: the one with the most of it, or the one with the least. */
  readonly strategy: 'spread' | 'pack';
  /** Memory of pods that are bound to no node: counted over the nodes by their size, or not at all. */
  readonly unboundMemory: 'proportional' | 'ignore';
  /** Bytes on every NUMA node that no pod is promised. */
  readonly reservedMemory: number;
}

export class Room {
  readonly machine: Machine;
  readonly rules: PlanRules;
  /** By CPU position: 1 when a container may own it and none does. */
  readonly free: Uint8Array;
  readonly #taken: Uint8Array;
  readonly #freeOnNode: Int32Array;
  readonly #poolOnNode: Int32Array;
  readonly #memory: Float64Array;
  readonly #milli: Float64Array;
  readonly #sharers: Int32Array;
  /** By page size: bytes on each node. */
  readonly #hugepages = new Map<number, Float64Array>();
  readonly #totalMemory: number;
  #pool: number;
  #unbound = 0;

  /** The whole host, nothing taken. */
  constructor(machine: Machine, rules: PlanRules) {
    const { nodes } = machine;
    this.machine = machine;
    this.rules = rules;
    this.free = Uint8Array.from(machine.allocatable);
    this.#taken = new Uint8Array(machine.cpuIds.length);
    this.#freeOnNode = Int32Array.from(nodes, (node) => node.allocatable.length);
    this.#poolOnNode = Int32Array.from(nodes, (node) => node.poolSize);
    this.#memory = new Float64Array(nodes.length);
    this.#milli = new Float64Array(nodes.length);
    this.#sharers = new Int32Array(nodes.length);
    this.#totalMemory = machine.memoryBytes;
    this.#pool = machine.poolSize;
  }

  /** A room of its own to try something in. */
  copy(): Room {
    const room = new Room(this.machine, this.rules);
    room.free.set(this.free);
    room.#taken.set(this.#taken);
    room.#freeOnNode.set(this.#freeOnNode);
    room.#poolOnNode.set(this.#poolOnNode);
    room.#memory.set(this.#memory);
    room.#milli.set(this.#milli);
    room.#sharers.set(this.#sharers);
    for (const [size, used] of this.#hugepages) room.#hugepages.set(size, Float64Array.from(used));
    room.#pool = this.#pool;
    room.#unbound = this.#unbound;
    return room;
  }

  /** CPUs of the node that may be owned and are not. */
  freeOn(node: number): number {
    return this.#freeOnNode[node] ?? 0;
  }

  /** CPUs of the node that shared containers may use now. */
  poolOn(node: number): number {
    return this.#poolOnNode[node] ?? 0;
  }

  /** CPUs that shared containers may use now, on the whole host. */
  get poolSize(): number {
    return this.#pool;
  }

  /** Thousandths of a CPU in the node's pool that no bound container requests. */
  milliLeftOn(node: number): number {
    return this.poolOn(node) * 1000 - this.boundMilliOn(node);
  }

  /** What shared containers that are bound to the node request, in thousandths of a CPU. */
  boundMilliOn(node: number): number {
    return this.#milli[node] ?? 0;
  }

  /** Promises to pods and containers that are bound to the node and run in its pool. */
  sharersOn(node: number): number {
    return this.#sharers[node] ?? 0;
  }

  /** CPUs of the node that can be owned without leaving its bound shared containers short. */
  takableOn(node: number): number {
    const needed = this.sharersOn(node) === 0 ? 0 : Math.max(1, Math.ceil(this.boundMilliOn(node) / 1000));
    return Math.max(0, Math.min(this.freeOn(node), this.poolOn(node) - needed));
  }

  /** Bytes of the node's memory that are promised to nobody; never less than 0. */
  memoryLeftOn(node: number): number {
    const here = this.machine.nodes[node];
    if (here === undefined || !here.hasMemory) return 0;
    const unbound = this.rules.unboundMemory === 'ignore' || this.#totalMemory === 0 ? 0 : this.#unbound;
    const elsewhere = Math.floor((unbound * here.memoryBytes) / Math.max(1, this.#totalMemory));
    return Math.max(0, here.memoryBytes - this.rules.reservedMemory - (this.#memory[node] ?? 0) - elsewhere);
  }

  /** Bytes in pages of that size that are promised to nobody; never less than 0. */
  hugepagesLeftOn(node: number, pageSize: number): number {
    const here = this.machine.nodes[node];
    if (here === undefined || !here.hasMemory) return 0;
    return Math.max(0, (here.hugepages.get(pageSize) ?? 0) - (this.#hugepages.get(pageSize)?.[node] ?? 0));
  }

  isTaken(position: number): boolean {
    return this.#taken[position] === 1;
  }

  /** @throws HoldfastError BUG when one of them has an owner; nothing is changed then */
  takeCpus(cpus: CpuSet): void {
    const positions = this.#positionsOf(cpus);
    const twice = positions.find((position) => this.#taken[position] === 1);
    if (twice !== undefined) throw new HoldfastError('BUG', `CPU ${this.machine.cpuIds[twice]} would have two owners`);
    for (const position of positions) this.#setTaken(position, 1);
  }

  giveCpus(cpus: CpuSet): void {
    for (const position of this.#positionsOf(cpus)) this.#setTaken(position, 0);
  }

  addClaim(claim: Claim): void {
    this.#unbound += claim.unboundMemory;
    for (const share of claim.shares) this.#count(share, 1);
  }

  removeClaim(claim: Claim): void {
    this.#unbound -= claim.unboundMemory;
    for (const share of claim.shares) this.#count(share, -1);
  }

  /** @throws HoldfastError BUG when one of its CPUs has an owner; nothing is changed then */
  add(holding: PodHolding): void {
    this.takeCpus(holding.cpus);
    this.addClaim(holding);
    for (const container of holding.containers.values()) this.addClaim(container);
  }

  remove(holding: PodHolding): void {
    this.giveCpus(holding.cpus);
    this.removeClaim(holding);
    for (const container of holding.containers.values()) this.removeClaim(container);
  }

  /** CPUs that shared containers may use now, on the given nodes (by position) or everywhere. */
  poolCpus(nodes?: readonly number[]): CpuSet {
    const { machine } = this;
    return cpusWhere(
      machine,
      (position) =>
        machine.pooled[position] === 1 &&
        this.#taken[position] === 0 &&
        (nodes === undefined || nodes.includes(machine.nodeOf[position] ?? -1)),
    );
  }

  /** Everything counted, for comparing two rooms. */
  snapshot(): unknown {
    return {
      taken: cpusWhere(this.machine, (position) => this.isTaken(position)).toString(),
      freeOnNode: [...this.#freeOnNode],
      poolOnNode: [...this.#poolOnNode],
      memory: [...this.#memory],
      milli: [...this.#milli],
      sharers: [...this.#sharers],
      hugepages: [...this.#hugepages].map(([size, used]) => [size, [...used]]).filter(([, used]) => hasUse(used)),
      pool: this.#pool,
      unbound: this.#unbound,
    };
  }

  #positionsOf(cpus: CpuSet): readonly number[] {
    const positions: number[] = [];
    for (const cpu of cpus) {
      const position = this.machine.positions.get(cpu);
      if (position !== undefined) positions.push(position);
    }
    return positions;
  }

  #setTaken(position: number, taken: 0 | 1): void {
    if (this.#taken[position] === taken) return;
    const { machine } = this;
    const change = taken === 1 ? -1 : 1;
    const node = machine.nodeOf[position] ?? -1;
    this.#taken[position] = taken;
    if (machine.allocatable[position] === 1) {
      this.free[position] = 1 - taken;
      this.#freeOnNode[node] = (this.#freeOnNode[node] ?? 0) + change;
    }
    if (machine.pooled[position] === 1) {
      this.#pool += change;
      if (node >= 0) this.#poolOnNode[node] = (this.#poolOnNode[node] ?? 0) + change;
    }
  }

  #count(share: NodeShare, sign: 1 | -1): void {
    const node = this.machine.nodePositions.get(share.node);
    if (node === undefined) return;
    this.#memory[node] = (this.#memory[node] ?? 0) + sign * share.memory;
    this.#milli[node] = (this.#milli[node] ?? 0) + sign * share.milli;
    if (share.shared) this.#sharers[node] = (this.#sharers[node] ?? 0) + sign;
    for (const [size, amount] of share.hugepages) {
      const used = this.#hugepages.get(size) ?? new Float64Array(this.machine.nodes.length);
      used[node] = (used[node] ?? 0) + sign * amount;
      this.#hugepages.set(size, used);
    }
  }
}

function hasUse(used: unknown): boolean {
  return Array.isArray(used) && used.some((amount) => amount !== 0);
}
