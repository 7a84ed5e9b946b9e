// Sets of CPU or NUMA node numbers, in and out of the kernel's list format ("0-3,8").
import { HoldfastError } from '../../lib/errors.ts';

/** No kernel has more CPUs or NUMA nodes. */
const MOST_NUMBERS = 1 << 20;
/** Characters of a text that an error repeats. */
const MOST_SHOWN = 200;

/** An immutable set of non-negative integers, kept sorted. */
export class CpuSet implements Iterable<number> {
  static readonly EMPTY = new CpuSet([]);

  readonly #sorted: readonly number[];
  /** Made at the first question: most sets are only written down. */
  #members: ReadonlySet<number> | undefined;
  /** Made at the first question: the same pool is written into hundreds of cgroups. */
  #text: string | undefined;

  private constructor(sorted: readonly number[]) {
    this.#sorted = sorted;
  }

  static of(...numbers: readonly number[]): CpuSet {
    return CpuSet.from(numbers);
  }

  static from(numbers: Iterable<number>): CpuSet {
    const listed = [...numbers];
    // Most come in order already; sorting a thousand of them costs more than a whole placement.
    const inOrder = listed.every((number, index) => index === 0 || number > (listed[index - 1] ?? 0));
    const sorted = inOrder ? listed : [...new Set(listed)].sort((a, b) => a - b);
    return sorted.length === 0 && CpuSet.EMPTY !== undefined ? CpuSet.EMPTY : new CpuSet(sorted);
  }

  /**
   * Reads the kernel's list format (Documentation/admin-guide/cputopology.rst): numbers and ranges joined by commas;
   * the empty text is the empty set.
   * @param limit - every number is below it, and no more than so many are listed, however often each: a few bytes of
   *   text can stand for millions of numbers
   * @throws HoldfastError INVALID_REQUEST for anything else
   */
  static parse(text: string, limit = MOST_NUMBERS): CpuSet {
    const trimmed = text.trim();
    if (trimmed === '') return CpuSet.EMPTY;
    const numbers: number[] = [];
    for (const part of trimmed.split(',')) {
      const match = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(part);
      const first = Number(match?.[1]);
      const last = Number(match?.[2] ?? match?.[1]);
      if (match === null || last < first || last >= limit || numbers.length + (last - first) >= limit) {
        const shown = text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}…`;
        throw new HoldfastError('INVALID_REQUEST', `"${shown}" is not a CPU list such as "0-3,8"`);
      }
      for (let number = first; number <= last; number += 1) numbers.push(number);
    }
    return CpuSet.from(numbers);
  }

  get size(): number {
    return this.#sorted.length;
  }

  get isEmpty(): boolean {
    return this.#sorted.length === 0;
  }

  has(number: number): boolean {
    this.#members ??= new Set(this.#sorted);
    return this.#members.has(number);
  }

  first(): number | undefined {
    return this.#sorted[0];
  }

  union(other: CpuSet): CpuSet {
    if (other.isEmpty) return this;
    return this.isEmpty ? other : CpuSet.from([...this.#sorted, ...other.#sorted]);
  }

  intersect(other: CpuSet): CpuSet {
    return this.filter((number) => other.has(number));
  }

  minus(other: CpuSet): CpuSet {
    return other.isEmpty ? this : this.filter((number) => !other.has(number));
  }

  filter(keep: (number: number) => boolean): CpuSet {
    return CpuSet.from(this.#sorted.filter(keep));
  }

  equals(other: CpuSet): boolean {
    if (this === other) return true;
    return this.size === other.size && this.#sorted.every((number, index) => other.#sorted[index] === number);
  }

  isSubsetOf(other: CpuSet): boolean {
    return this.#sorted.every((number) => other.has(number));
  }

  overlaps(other: CpuSet): boolean {
    return this.#sorted.some((number) => other.has(number));
  }

  [Symbol.iterator](): Iterator<number> {
    return this.#sorted[Symbol.iterator]();
  }

  /** The kernel's list format. */
  toString(): string {
    this.#text ??= this.#format();
    return this.#text;
  }

  #format(): string {
    const parts: string[] = [];
    for (let index = 0; index < this.#sorted.length; ) {
      let end = index;
      while (this.#sorted[end + 1] === Number(this.#sorted[end]) + 1) end += 1;
      parts.push(end === index ? `${this.#sorted[index]}` : `${this.#sorted[index]}-${this.#sorted[end]}`);
      index = end + 1;
    }
    return parts.join(',');
  }

  /** Stored and logged in the list format. */
  toJSON(): string {
    return this.toString();
  }
}
