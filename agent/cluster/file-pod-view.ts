// What pods a file or folder names, over time. It decides when a pod may be called deleted: too late costs a while of
// kept resources, too early costs a pod its data. Pure; the clock is handed in.
import type { PodFacts } from '../model/pod.ts';
import { factsAsText } from './facts-text.ts';
import type { PodName, PodPhase } from './pod-source.ts';

/** How pods asked for are matched with those that the manifests name. */
export interface PodMatch {
  /** A key of each manifest's pod. */
  keyOf(facts: PodFacts): string;
  /** The keys under which a pod that is asked for may be known. */
  keysFor(pod: PodName): readonly string[];
}

export interface ReadPods {
  readonly pods: readonly PodFacts[];
  /** It names every pod of the host. */
  readonly complete: boolean;
  /** What could not be read; pods may be missing for it. */
  readonly problem?: string;
}

/** Names of deleted pods are remembered up to this number. */
const MAX_ABSENT = 10_000;

export class FilePodView {
  readonly #match: PodMatch;
  readonly #settleMs: number;
  readonly #now: () => number;
  #pods: ReadonlyMap<string, PodFacts> = new Map();
  /** When a pod that was there was first not there any more. */
  readonly #absentSince = new Map<string, number>();
  #completeSince: number | undefined;
  readonly #startedAt: number;
  #goodAt: number | undefined;
  #problem: string | undefined;

  /**
   * @param settleMs - milliseconds that a pod must be absent before it counts as deleted: files are replaced by
   *   removing and writing them
   */
  constructor(match: PodMatch, settleMs: number, now: () => number = Date.now) {
    this.#match = match;
    this.#settleMs = settleMs;
    this.#now = now;
    this.#startedAt = now();
  }

  /** Takes in what was read. With a problem, pods that are missing stay as they were. @returns whether anything changed */
  update({ pods, complete, problem }: ReadPods): boolean {
    const now = this.#now();
    const before = this.#pods;
    const next = new Map(pods.map((facts) => [this.#match.keyOf(facts), facts] as const));
    if (problem === undefined) {
      for (const key of before.keys()) if (!next.has(key)) this.#absentSince.set(key, now);
      this.#completeSince = complete ? (this.#completeSince ?? now) : undefined;
      this.#goodAt = now;
    } else {
      for (const [key, facts] of before) if (!next.has(key)) next.set(key, facts);
    }
    for (const key of next.keys()) this.#absentSince.delete(key);
    for (const key of [...this.#absentSince.keys()].slice(0, Math.max(0, this.#absentSince.size - MAX_ABSENT))) {
      this.#absentSince.delete(key);
    }
    const changed = problem !== this.#problem || !samePods(before, next);
    this.#problem = problem;
    this.#pods = next;
    return changed;
  }

  find(pod: PodName): PodFacts | undefined {
    for (const key of this.#match.keysFor(pod)) {
      const facts = this.#pods.get(key);
      if (facts !== undefined) return { ...facts, uid: pod.uid };
    }
    return undefined;
  }

  phaseOf(pod: PodName): PodPhase {
    const facts = this.find(pod);
    if (facts !== undefined) {
      if (facts.finished) return 'finished';
      return facts.deleting ? 'deleting' : 'present';
    }
    if (this.#problem !== undefined || this.#goodAt === undefined) return 'unknown';
    const since = this.#match
      .keysFor(pod)
      .map((key) => this.#absentSince.get(key) ?? this.#completeSince)
      .find((time) => time !== undefined);
    return since !== undefined && this.#now() - since >= this.#settleMs ? 'deleted' : 'unknown';
  }

  /** Milliseconds until a pod that is absent now counts as deleted; undefined when none waits. */
  settlesIn(): number | undefined {
    const waiting = [...this.#absentSince.values()]
      .map((since) => since + this.#settleMs - this.#now())
      .filter((rest) => rest > 0);
    return waiting.length === 0 ? undefined : Math.min(...waiting);
  }

  /** `ageMs`: since the last read without a problem, or since the start when there was none. */
  status(): { readonly ageMs: number; readonly problem?: string } {
    const ageMs = this.#now() - (this.#goodAt ?? this.#startedAt);
    return this.#problem === undefined ? { ageMs } : { ageMs, problem: this.#problem };
  }
}

function samePods(a: ReadonlyMap<string, PodFacts>, b: ReadonlyMap<string, PodFacts>): boolean {
  return a.size === b.size && [...a].every(([key, facts]) => factsAsText(facts) === factsAsText(b.get(key)));
}
