// Which CPUs a container gets to itself, once it is known on which NUMA nodes. Deterministic: the same free CPUs give
// the same answer.
import type { Core, Domain, Machine } from './machine.ts';
import { type Packing, planPacking, type Supply, wholeCpus } from './plan-packing.ts';

/** Free threads of a core. */
function freeThreads(core: Core, free: Uint8Array): number {
  let count = 0;
  for (const cpu of core.cpus) count += free[cpu] ?? 0;
  return count;
}

/** What the cores of a domain have to give. */
export function supplyOf(machine: Machine, domain: Domain, free: Uint8Array): Supply {
  const whole = new Map<number, number>();
  let split = 0;
  let total = 0;
  for (const index of domain.cores) {
    const core = machine.cores[index];
    if (core === undefined) continue;
    const threads = freeThreads(core, free);
    total += threads;
    if (threads === core.threads) whole.set(threads, (whole.get(threads) ?? 0) + 1);
    else split += threads;
  }
  return { whole, split, free: total };
}

/** What of `want` the supply has. */
function partOf(want: Packing, supply: Supply): Packing {
  const whole = new Map<number, number>();
  for (const [size, cores] of want.whole) {
    const here = Math.min(cores, supply.whole.get(size) ?? 0);
    if (here > 0) whole.set(size, here);
  }
  return { whole, split: Math.min(want.split, supply.split), broken: 0 };
}

function minus(want: Packing, part: Packing): Packing {
  const whole = new Map<number, number>();
  for (const [size, cores] of want.whole) {
    const left = cores - (part.whole.get(size) ?? 0);
    if (left > 0) whole.set(size, left);
  }
  return { whole, split: want.split - part.split, broken: want.broken };
}

function sizeOf(packing: Packing): number {
  return wholeCpus(packing.whole) + packing.split;
}

function covers(supply: Supply, want: Packing): boolean {
  for (const [size, cores] of want.whole) if ((supply.whole.get(size) ?? 0) < cores) return false;
  if (supply.split < want.split) return false;
  if (want.broken === 0) return true;
  // One whole core more than those taken, to break.
  return [...supply.whole].some(([size, cores]) => size > want.broken && cores > (want.whole.get(size) ?? 0));
}

class Picker {
  readonly #machine: Machine;
  /** A copy: what is picked is crossed out. */
  readonly #free: Uint8Array;
  readonly picked: number[] = [];

  constructor(machine: Machine, free: Uint8Array) {
    this.#machine = machine;
    this.#free = Uint8Array.from(free);
  }

  supplyOf(domain: Domain): Supply {
    return supplyOf(this.#machine, domain, this.#free);
  }

  /** Takes `want` from the fewest and nearest parts of the domain: all from the fullest part that has it, if one has. */
  pick(domain: Domain, want: Packing): void {
    if (domain.parts.length === 0) {
      this.#pickCores(domain, want);
      this.#breakCore(domain, want.broken);
      return;
    }
    const parts = domain.parts.map((part) => ({ part, supply: this.supplyOf(part) }));
    let left = want;
    while (sizeOf(left) > 0 || left.broken > 0) {
      const whole = parts.filter(({ supply }) => covers(supply, left)).sort((a, b) => a.supply.free - b.supply.free);
      if (whole[0] !== undefined) {
        this.pick(whole[0].part, left);
        return;
      }
      const shares = parts.map((each, index) => ({ index, ...each, share: partOf(left, each.supply) }));
      const [most] = shares.sort((a, b) => sizeOf(b.share) - sizeOf(a.share));
      if (most === undefined || sizeOf(most.share) === 0) {
        this.#breakCore(domain, left.broken);
        return;
      }
      this.pick(most.part, most.share);
      left = minus(left, most.share);
      parts[most.index] = { part: most.part, supply: this.supplyOf(most.part) };
    }
  }

  #pickCores(domain: Domain, want: Packing): void {
    const left = new Map(want.whole);
    const splitCores: { readonly core: Core; readonly threads: number }[] = [];
    for (const index of domain.cores) {
      const core = this.#machine.cores[index];
      if (core === undefined) continue;
      const threads = freeThreads(core, this.#free);
      if (threads === core.threads) {
        const cores = left.get(threads) ?? 0;
        if (cores === 0) continue;
        left.set(threads, cores - 1);
        this.#take(core, threads);
      } else if (threads > 0) splitCores.push({ core, threads });
    }
    let rest = want.split;
    while (rest > 0) {
      // The core that the rest fits most tightly, else the one that gives most.
      splitCores.sort((a, b) => a.threads - b.threads);
      const fitting = splitCores.findIndex(({ threads }) => threads >= rest);
      const [next] = splitCores.splice(fitting < 0 ? splitCores.length - 1 : fitting, 1);
      if (next === undefined) return;
      rest -= this.#take(next.core, Math.min(rest, next.threads));
    }
  }

  /** Takes `count` threads of one whole core, as near as can be to what was picked before. */
  #breakCore(domain: Domain, count: number): void {
    if (count === 0) return;
    const near = this.picked.map((cpu) => this.#machine.cores[this.#machine.coreOf[cpu] ?? -1]);
    const used = {
      l3: new Set(near.map((core) => core?.l3)),
      die: new Set(near.map((core) => core?.die)),
      socket: new Set(near.map((core) => core?.socket)),
    };
    const nearness = (core: Core): number =>
      used.l3.has(core.l3) ? 3 : used.die.has(core.die) ? 2 : used.socket.has(core.socket) ? 1 : 0;
    const cores = domain.cores
      .map((index) => this.#machine.cores[index])
      .filter((core) => core !== undefined)
      .filter((core) => core.threads > count && freeThreads(core, this.#free) === core.threads)
      .sort((a, b) => nearness(b) - nearness(a) || a.threads - b.threads);
    if (cores[0] !== undefined) this.#take(cores[0], count);
  }

  #take(core: Core, count: number): number {
    let taken = 0;
    for (const cpu of core.cpus) {
      if (taken === count) break;
      if (this.#free[cpu] !== 1) continue;
      this.#free[cpu] = 0;
      this.picked.push(cpu);
      taken += 1;
    }
    return taken;
  }
}

/**
 * Chooses CPUs: as many whole cores as make up the number, the odd remainder from a core that is split already, all of
 * it below as few last-level caches, dies and sockets as possible.
 *
 * @param free - by CPU position: 1 when it may be taken
 * @returns positions, ascending; undefined when the domain has too few
 */
export function planExclusive(
  machine: Machine,
  domain: Domain,
  free: Uint8Array,
  count: number,
): readonly number[] | undefined {
  const picker = new Picker(machine, free);
  const packing = planPacking(picker.supplyOf(domain), count);
  if (packing === undefined) return undefined;
  picker.pick(domain, packing);
  return picker.picked.sort((a, b) => a - b);
}
