// Lets a number of them through at a time: connecting to thousands of agents at once would cost their handshakes all at
// the same moment.

/** Who connects waits for a place in one of them. */
export interface Gates {
  readonly prompt: Gate;
  /** For agents that were not reached before (`isDoubtful`). */
  readonly doubtful: Gate;
}

export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param places - how many may be inside */
  constructor(places: number) {
    this.#free = places;
  }

  /**
   * Waits for a place.
   * @returns the function that gives it back; more calls of it do nothing
   * @throws the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(signal);
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.push(go);
    });
  }
}
