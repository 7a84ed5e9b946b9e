// Pods that the scheduler was told where they fit, and that are not seen bound yet: each may go to any of its nodes.
// Between the answer and the binding's news another pod's question may come, and must not be promised the same place.
import type { PodUid } from '../../agent/model/ids.ts';
import type { PodAsk } from '../planning/plan-ask.ts';

interface Flight {
  readonly ask: PodAsk;
  readonly nodes: readonly string[];
  readonly since: number;
  /** What the pod's PodScheduled condition said when the scheduler asked. */
  readonly condition: string;
}

/** At most so many: a scheduler that never binds must not fill the memory. The oldest are forgotten first. */
const MOST_FLIGHTS = 1000;

const NOBODY: readonly PodAsk[] = [];

export class InFlight {
  readonly #flights = new Map<PodUid, Flight>();
  readonly #byNode = new Map<string, readonly PodAsk[]>();
  readonly #ttlMs: number;
  readonly #now: () => number;

  /**
   * @param ttlMs - after which a pod of which nothing was heard counts no more, milliseconds
   * @param now - a clock that never goes back, milliseconds
   */
  constructor(ttlMs: number, now: () => number = () => performance.now()) {
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  get size(): number {
    return this.#flights.size;
  }

  /** The pod may be going to one of these nodes. */
  begin(ask: PodAsk, nodes: readonly string[], condition: string): void {
    this.end(ask.identity.uid);
    this.#flights.set(ask.identity.uid, { ask, nodes, since: this.#now(), condition });
    this.#change(nodes, (before) => [...before, ask]);
    const [oldest] = this.#flights.keys();
    if (this.#flights.size > MOST_FLIGHTS && oldest !== undefined) this.end(oldest);
  }

  /** It is bound, deleted, or asked for again. @returns where it was in flight; undefined: nowhere */
  end(uid: PodUid): readonly string[] | undefined {
    const flight = this.#flights.get(uid);
    if (flight === undefined) return undefined;
    this.#flights.delete(uid);
    this.#change(flight.nodes, (before) => before.filter(({ identity }) => identity.uid !== uid));
    return flight.nodes;
  }

  /**
   * The API says that the scheduler found no place for the pod. The word of an earlier attempt, which any other change
   * of the pod brings again, proves nothing.
   * @returns where it was in flight and is no more; undefined: nowhere
   */
  unschedulable(uid: PodUid, condition: string): readonly string[] | undefined {
    const flight = this.#flights.get(uid);
    return flight === undefined || flight.condition === condition ? undefined : this.end(uid);
  }

  /** Ends those of which nothing was heard for too long. @returns milliseconds until the next one; undefined: none is left */
  expire(): number | undefined {
    const now = this.#now();
    for (const [uid, { since }] of this.#flights) {
      if (now - since < this.#ttlMs) return this.#ttlMs - (now - since);
      this.end(uid);
    }
    return undefined;
  }

  /** Who may be going to the node, in the order in which they were answered. Nodes with the same pods share the list. */
  on(node: string): readonly PodAsk[] {
    return this.#byNode.get(node) ?? NOBODY;
  }

  #change(nodes: readonly string[], change: (before: readonly PodAsk[]) => readonly PodAsk[]): void {
    const made = new Map<readonly PodAsk[], readonly PodAsk[]>();
    for (const node of nodes) {
      const before = this.on(node);
      const after = made.get(before) ?? change(before);
      made.set(before, after);
      if (after.length === 0) this.#byNode.delete(node);
      else this.#byNode.set(node, after);
    }
  }
}
