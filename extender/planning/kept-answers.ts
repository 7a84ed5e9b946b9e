// What was answered about one room, for pods that ask for the same: those of a Deployment come one after the other.
import type { Room } from '../../agent/cpuset/room.ts';
import type { PodAsk } from './plan-ask.ts';
import { planFit, type WhyNot } from './plan-fit.ts';
import { planScore } from './plan-score.ts';

/** Different needs whose answers are kept per room: there are thousands of rooms. */
const MOST_ANSWERS = 32;

function keep<Answer>(answers: Map<string, Answer>, key: string, answer: Answer): Answer {
  if (answers.size >= MOST_ANSWERS) answers.clear();
  answers.set(key, answer);
  return answer;
}

/** The answers about a room, each planned at the first question. Whoever changes the room makes another of these. */
export class KeptAnswers {
  /** Only read. */
  readonly room: Room;
  readonly #fits = new Map<string, { readonly whyNot: WhyNot }>();
  /** Apart from the fits: a pod with `preferred` is ranked where nobody asks whether it fits. */
  readonly #scores = new Map<string, number>();

  constructor(room: Room) {
    this.room = room;
  }

  /** As `planFit`. */
  fit(ask: PodAsk): WhyNot {
    const { whyNot } = this.#fits.get(ask.key) ?? keep(this.#fits, ask.key, { whyNot: planFit(this.room, ask) });
    return whyNot;
  }

  /** As `planScore`; 0 for a pod that asks for no NUMA node. */
  score(ask: PodAsk): number {
    if (ask.numa === 'none') return 0;
    return this.#scores.get(ask.key) ?? keep(this.#scores, ask.key, planScore(this.room, ask));
  }
}
