// What was answered about one room, for pods that ask for the same: those of a Deployment come one after the other.
import type { Room } from '../../agent/cpuset/room.ts';
import type { PodAsk } from './plan-ask.ts';
import { planFit, type WhyNot } from './plan-fit.ts';
import { planScore } from './plan-score.ts';

/** Different needs whose answers are kept per room: there are thousands of rooms. */
const MOST_ANSWERS = 32;

/** What was found out so far about one need. */
interface Kept {
  /** Absent: nobody has asked. */
  fit?: { readonly whyNot: WhyNot } | undefined;
  score?: number | undefined;
}

const FITS = { whyNot: undefined };

/** The answers about a room, each planned at the first question. Whoever changes the room makes another of these. */
export class KeptAnswers {
  /** Only read. */
  readonly room: Room;
  readonly #kept = new Map<string, Kept>();

  constructor(room: Room) {
    this.room = room;
  }

  /** As `planFit`. */
  fit(ask: PodAsk): WhyNot {
    const kept = this.#of(ask);
    if (kept.fit === undefined) {
      const whyNot = planFit(this.room, ask);
      kept.fit = whyNot === undefined ? FITS : { whyNot };
    }
    return kept.fit.whyNot;
  }

  /** As `planScore`, apart from the fit: one with `preferred` is ranked where nobody asks whether it fits. 0 without NUMA. */
  score(ask: PodAsk): number {
    if (ask.numa === 'none') return 0;
    const kept = this.#of(ask);
    kept.score ??= planScore(this.room, ask);
    return kept.score;
  }

  #of({ key }: PodAsk): Kept {
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    if (this.#kept.size >= MOST_ANSWERS) this.#kept.clear();
    const kept: Kept = { fit: undefined, score: undefined };
    this.#kept.set(key, kept);
    return kept;
  }
}
