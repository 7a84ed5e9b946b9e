// The latest warnings for `holdfast status`: what users of a container should know, newest last, a bounded number.

export interface Notice {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly text: string;
}

const LIMIT = 20;

export class Notices {
  readonly #now: () => number;
  readonly #notices: Notice[] = [];

  /** @param now - milliseconds since the epoch */
  constructor(now: () => number) {
    this.#now = now;
  }

  add(text: string): void {
    this.#notices.push({ at: this.#now(), text });
    if (this.#notices.length > LIMIT) this.#notices.shift();
  }

  /** Those of the last `withinMs` milliseconds. */
  recent(withinMs: number): readonly Notice[] {
    const since = this.#now() - withinMs;
    return this.#notices.filter(({ at }) => at >= since);
  }
}
