// Pods for which this host had no room when their sandbox or a container was to be made: since when, and why. The
// kubelet asks again and again; a pod that is placed, or that is not asked for any more, is forgotten.
import type { PodName } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';

export interface Refusal extends PodName {
  /** What the kubelet was told last. */
  readonly reason: string;
  /** The first refusal in a row, in milliseconds of the clock of {@link Refusals}. */
  readonly since: number;
  /** The last one. */
  readonly until: number;
}

/** A node runs some hundred pods; whoever makes up UIDs must not cost us the memory. */
const MAX_PODS = 1000;

/** So long the kubelet may go on asking for a pod of which the cluster knows already that it has ended. */
const ENDING_MS = 60_000;

export class Refusals {
  readonly #now: () => number;
  readonly #pods = new Map<PodUid, Refusal>();
  /** When pods were ended in the cluster for want of room. */
  readonly #ended = new Map<PodUid, number>();

  /** @param now - milliseconds of a clock that nobody sets: the wall clock may jump by more than any pod's patience */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  refused({ uid, namespace, name }: PodName, reason: string): void {
    const now = this.#now();
    const endedAt = this.#ended.get(uid);
    if (endedAt !== undefined && now - endedAt < ENDING_MS) return;
    this.#ended.delete(uid);
    const since = this.#pods.get(uid)?.since ?? now;
    putLast(this.#pods, uid, { uid, namespace, name, reason, since, until: now });
  }

  /** The cluster was told to end the pod: what is refused until everybody knows does not count. */
  ended(uid: PodUid): void {
    this.#pods.delete(uid);
    putLast(this.#ended, uid, this.#now());
  }

  forget(uid: PodUid): void {
    this.#pods.delete(uid);
  }

  list(): readonly Refusal[] {
    return [...this.#pods.values()];
  }
}

/** The front is what was not asked for the longest; it makes room. */
function putLast<Value>(pods: Map<PodUid, Value>, uid: PodUid, value: Value): void {
  pods.delete(uid);
  pods.set(uid, value);
  for (const oldest of pods.keys()) {
    if (pods.size <= MAX_PODS) break;
    pods.delete(oldest);
  }
}
