// How many may do something at the same time; the others wait their turn.
import { HoldfastError } from '../../../lib/errors.ts';

export class Slots {
  readonly #what: string;
  readonly #maxWaiting: number;
  readonly #waiting = new Set<() => void>();
  #free: number;

  /**
   * @param what - what the slots are for, for the error when too many wait
   * @param count - how many may be in use at once
   * @param maxWaiting - how many may wait
   */
  constructor(what: string, count: number, maxWaiting: number) {
    this.#what = what;
    this.#free = count;
    this.#maxWaiting = maxWaiting;
  }

  /**
   * @param signal - gives up waiting (never interrupts work that has begun); rejects with its reason
   * @throws HoldfastError UNAVAILABLE when too many wait already; what `work` throws
   */
  async run<Result>(work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else {
        this.#waiting.delete(next);
        next();
      }
    }
  }

  /** Settles when a slot was handed over. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.size >= this.#maxWaiting) {
      const message = `${this.#what}: ${this.#waiting.size} wait already; try again`;
      return Promise.reject(new HoldfastError('UNAVAILABLE', message));
    }
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.delete(go);
        reject(signal?.reason);
      };
      const go = (): void => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(go);
    });
  }
}
