// Which nodes a pod may be scheduled to, beside what is bound and what may be going there. Pure.
import type { Need } from '../../agent/cpuset/plan-need.ts';
import type { KeptAnswers } from '../planning/kept-answers.ts';
import type { PodAsk } from '../planning/plan-ask.ts';
import { besideOthers, fitsAfter, fitsBeside } from '../planning/plan-fit.ts';
import type { NodeView } from './fleet.ts';
import { type Candidate, planBest } from './plan-best.ts';

export interface FilterPlan {
  /** It fits there wherever the pods go that are in flight; of more than `most` nodes the best. */
  readonly fits: readonly string[];
  /** It fits there unless a pod that is in flight goes there. */
  readonly contended: readonly string[];
  /** Why not, by node. */
  readonly failed: ReadonlyMap<string, string>;
}

export interface FilterInputs {
  readonly view: (node: string) => NodeView;
  /** The pods that may be going there, the asking one aside. */
  readonly inFlight: (node: string) => readonly PodAsk[];
  /** What becomes of a node whose agent was lost, or that has none. */
  readonly withoutAgent: Readonly<Record<'lost' | 'unknown', 'refuse' | 'allow'>>;
  /** Nodes that a pod is answered with: it is in flight on each, and the fewer they are, the fewer other pods it hinders. */
  readonly most: number;
}

/** Why not a node where it fits. */
const NOT_AMONG_BEST = 'it fits, but other nodes suit the pod better';

/**
 * Pods in flight that are planned with per request, for what counting cannot decide: three on one node are up to a
 * millisecond. Nodes beyond it count as contended.
 */
const MOST_PLANNED = 100;

class Trials {
  #left = MOST_PLANNED;
  readonly #ask: PodAsk;
  /** By who is in flight: nodes with the same pods have the same list. */
  readonly #sums = new Map<readonly PodAsk[], Need | undefined>();

  constructor(ask: PodAsk) {
    this.#ask = ask;
  }

  /** Whether one NUMA node has room for all of them: cheap. */
  isRoomy({ room }: KeptAnswers, others: readonly PodAsk[]): boolean {
    if (!this.#sums.has(others)) this.#sums.set(others, besideOthers(this.#ask, others));
    const all = this.#sums.get(others);
    return all !== undefined && fitsBeside(room, all);
  }

  /** Whether it fits after the others, as long as that may be found out. */
  isFree({ room }: KeptAnswers, others: readonly PodAsk[]): boolean {
    if (this.#left < others.length) return false;
    this.#left -= others.length;
    return fitsAfter(room, this.#ask, others);
  }
}

interface Doubtful {
  readonly name: string;
  readonly node: KeptAnswers;
  readonly others: readonly PodAsk[];
}

/** Where a pod with `required` may go. */
export function planFilter(nodes: readonly string[], ask: PodAsk, inputs: FilterInputs): FilterPlan {
  const { most } = inputs;
  const trials = new Trials(ask);
  const fits = new Set<string>();
  const doubtful: Doubtful[] = [];
  const failed = new Map<string, string>();
  for (const name of nodes) {
    const view = inputs.view(name);
    if (view.kind !== 'known') {
      if (inputs.withoutAgent[view.kind] === 'allow') fits.add(name);
      else failed.set(name, view.why);
      continue;
    }
    const whyNot = view.node.fit(ask);
    if (whyNot !== undefined) {
      failed.set(name, whyNot);
      continue;
    }
    const others = inputs.inFlight(name);
    if (others.length === 0 || trials.isRoomy(view.node, others)) fits.add(name);
    else doubtful.push({ name, node: view.node, others });
  }
  const contended: string[] = [];
  for (const { name, node, others } of doubtful) {
    // Where enough others fit it need not be known.
    if (fits.size < most && trials.isFree(node, others)) fits.add(name);
    else contended.push(name);
  }
  const best = planBest(candidatesOf([...fits], ask, inputs), most);
  const chosen = new Set(best);
  for (const name of fits) if (!chosen.has(name)) failed.set(name, NOT_AMONG_BEST);
  return { fits: best, contended, failed };
}

/**
 * Where a pod may go that is not refused anywhere, but takes CPUs or a NUMA node: of more nodes than `most` the best,
 * those where it fits first.
 */
export function planPreference(nodes: readonly string[], ask: PodAsk, inputs: FilterInputs): readonly string[] {
  return planBest(candidatesOf(nodes, ask, inputs), inputs.most);
}

function candidatesOf(nodes: readonly string[], ask: PodAsk, inputs: FilterInputs): readonly Candidate[] {
  // Not looked at when there is nothing to choose.
  if (nodes.length <= inputs.most) return nodes.map((node) => ({ node, score: 0, flights: 0 }));
  return nodes.map((node) => {
    const view = inputs.view(node);
    const score = view.kind === 'known' && view.node.fit(ask) === undefined ? 1 + view.node.score(ask) : 0;
    return { node, score, flights: inputs.inFlight(node).length };
  });
}
