// Whether enough is known for answers to be good: just started, every node would look as if it had no agent.

export interface ReadinessSubject {
  /** Nodes and pods of the cluster were listed once. */
  readonly isListed: () => boolean;
  /** Agents that had no turn to be connected to yet. */
  readonly untried: () => number;
}

/** How long agents are waited for: those that are dead must not keep the others' pods. */
const PATIENCE_MS = 30_000;

export class Readiness {
  readonly #subject: ReadinessSubject;
  readonly #now: () => number;
  #listedAt: number | undefined;
  #isReady = false;

  /** @param now - a clock that never goes back, milliseconds */
  constructor(subject: ReadinessSubject, now: () => number = () => performance.now()) {
    this.#subject = subject;
    this.#now = now;
  }

  /** @returns what is still waited for; undefined: nothing, and nothing will be again */
  missing(): string | undefined {
    if (this.#isReady) return undefined;
    if (!this.#subject.isListed()) return 'the nodes and pods of the cluster are not listed yet';
    this.#listedAt ??= this.#now();
    const untried = this.#subject.untried();
    this.#isReady = untried === 0 || this.#now() - this.#listedAt >= PATIENCE_MS;
    return this.#isReady ? undefined : `${untried} agents were not connected to yet`;
  }
}
