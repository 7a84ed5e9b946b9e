// How many whole cores, single threads and broken cores make up a number of CPUs. Pure arithmetic, no places.

/** What a group of cores has to give. */
export interface Supply {
  /** By number of threads: cores that are free as a whole. */
  readonly whole: ReadonlyMap<number, number>;
  /** Free threads of cores that somebody else uses already. */
  readonly split: number;
  /** Free threads in all. */
  readonly free: number;
}

/** What to take. */
export interface Packing {
  /** By number of threads: whole cores. */
  readonly whole: ReadonlyMap<number, number>;
  /** Threads from cores that are split already. */
  readonly split: number;
  /** Threads of one more whole core, whose others go to the pool; 0 when none is broken. */
  readonly broken: number;
}

/**
 * The counts per size whose sum comes closest to `count` from below; large cores first among equals.
 *
 * A smaller number of the larger size can only help by fewer than the largest size: beyond that, as many CPUs of the
 * one size can be exchanged for the other. So the search stays small whatever the host.
 */
function wholeCores(sizes: readonly (readonly [number, number])[], count: number): ReadonlyMap<number, number> {
  const largest = sizes[0]?.[0] ?? 1;
  let best: { readonly sum: number; readonly counts: readonly number[] } = { sum: -1, counts: [] };
  const search = (index: number, left: number, counts: readonly number[]): void => {
    if (best.sum === count) return;
    const [size, available] = sizes[index] ?? [0, 0];
    if (size === 0) {
      if (count - left > best.sum) best = { sum: count - left, counts };
      return;
    }
    const most = Math.min(available, Math.floor(left / size));
    for (let take = most; take >= Math.max(0, most - largest); take -= 1) {
      search(index + 1, left - take * size, [...counts, take]);
    }
  };
  search(0, count, []);
  return new Map(sizes.map(([size], index) => [size, best.counts[index] ?? 0] as const).filter(([, take]) => take > 0));
}

/** CPUs in whole cores. */
export function wholeCpus(whole: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const [size, cores] of whole) sum += size * cores;
  return sum;
}

/**
 * Whole cores first; the odd remainder from cores that are split already; only then is a core broken.
 * @returns undefined when there are not enough free threads
 */
export function planPacking(supply: Supply, count: number): Packing | undefined {
  if (supply.free < count) return undefined;
  const sizes = [...supply.whole].filter(([, cores]) => cores > 0).sort(([a], [b]) => b - a);
  const whole = wholeCores(sizes, count);
  const rest = count - wholeCpus(whole);
  return rest <= supply.split ? { whole, split: rest, broken: 0 } : { whole, split: 0, broken: rest };
}
