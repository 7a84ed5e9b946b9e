// Hands on what a list brings in slices, so that a list of a whole cluster does not keep the scheduler's questions waiting.
import type { KeyedListener } from './keyed-view.ts';

/** Handed on in one go: some milliseconds. */
const SLICE = 200;

/** In the order of the news; at once while they are few. */
export class InSlices<Item> implements KeyedListener<Item> {
  readonly #listener: KeyedListener<Item>;
  #waiting: (() => void)[] = [];
  /** Of those that wait, the first that was not handed on. */
  #next = 0;
  #left = SLICE;
  #isResting = false;

  constructor(listener: KeyedListener<Item>) {
    this.#listener = listener;
  }

  /** Everything that was told is handed on. */
  get isIdle(): boolean {
    return this.#waiting.length === 0;
  }

  readonly onItem = (item: Item): void => this.#take(() => this.#listener.onItem(item));

  readonly onGone = (key: string): void => this.#take(() => this.#listener.onGone(key));

  #take(hand: () => void): void {
    if (this.#left <= 0) {
      this.#waiting.push(hand);
      return;
    }
    this.#left -= 1;
    this.#rest();
    hand();
  }

  /** What comes in between, requests above all, has its turn before the next slice. */
  #rest(): void {
    if (this.#isResting) return;
    this.#isResting = true;
    setImmediate(() => {
      this.#isResting = false;
      const slice = this.#waiting.slice(this.#next, this.#next + SLICE);
      this.#next += slice.length;
      if (this.#next >= this.#waiting.length) [this.#waiting, this.#next] = [[], 0];
      this.#left = SLICE - slice.length;
      if (slice.length > 0) this.#rest();
      for (const hand of slice) hand();
    });
  }
}
