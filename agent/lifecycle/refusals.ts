// Pods for which this host had no room when their sandbox or a container was to be made: since when, and why. The
// kubelet asks again and again; a pod that is placed, or that is not asked for any more, is forgotten.
import type { PodName } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';

export interface Refusal extends PodName {
  /** What the kubelet was told last. */
  readonly reason: string;
  /** The first refusal in a row, milliseconds since the epoch. */
  readonly since: number;
  /** The last one. */
  readonly until: number;
}

/** A node runs some hundred pods; whoever makes up UIDs must not cost us the memory. */
const MAX_PODS = 1000;

export class Refusals {
  readonly #pods = new Map<PodUid, Refusal>();

  /** @param now - milliseconds since the epoch */
  refused({ uid, namespace, name }: PodName, reason: string, now: number): void {
    const since = this.#pods.get(uid)?.since ?? now;
    // Moved to the end: the front is what was not asked for the longest.
    this.#pods.delete(uid);
    this.#pods.set(uid, { uid, namespace, name, reason, since, until: now });
    for (const oldest of this.#pods.keys()) {
      if (this.#pods.size <= MAX_PODS) break;
      this.#pods.delete(oldest);
    }
  }

  forget(uid: PodUid): void {
    this.#pods.delete(uid);
  }

  list(): readonly Refusal[] {
    return [...this.#pods.values()];
  }
}
