// Which nodes a pod may be scheduled to, beside what is bound and what may be going there. Pure.

import type { Need } from '../../agent/cpuset/plan-need.ts';
import type { PodAsk } from '../planning/plan-ask.ts';
import { besideOthers, fitsAfter, fitsBeside } from '../planning/plan-fit.ts';
import type { KnownNode, NodeView } from './fleet.ts';

export interface FilterPlan {
  /** It fits there wherever the pods go that are in flight. */
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
}

/**
 * Nodes that are planned in full per request, for what counting cannot decide: some milliseconds. Those beyond it count
 * as contended, and are looked at again when there is no other.
 */
const MOST_TRIALS = 100;

class Trials {
  #left = MOST_TRIALS;
  readonly #ask: PodAsk;
  /** By who is in flight: most nodes have the same pods. */
  readonly #sums = new Map<string, Need | undefined>();

  constructor(ask: PodAsk) {
    this.#ask = ask;
  }

  isFree({ room }: KnownNode, others: readonly PodAsk[]): boolean {
    const ask = this.#ask;
    const key = others.map(({ identity }) => identity.uid).join();
    if (!this.#sums.has(key)) this.#sums.set(key, besideOthers(ask, others));
    const all = this.#sums.get(key);
    if (all !== undefined && fitsBeside(room, all)) return true;
    if (this.#left <= 0) return false;
    this.#left -= 1;
    return fitsAfter(room, ask, others);
  }
}

export function planFilter(nodes: readonly string[], ask: PodAsk, inputs: FilterInputs): FilterPlan {
  const trials = new Trials(ask);
  const fits: string[] = [];
  const contended: string[] = [];
  const failed = new Map<string, string>();
  for (const name of nodes) {
    const view = inputs.view(name);
    if (view.kind !== 'known') {
      if (inputs.withoutAgent[view.kind] === 'allow') fits.push(name);
      else failed.set(name, view.why);
      continue;
    }
    const whyNot = view.node.fit(ask);
    if (whyNot !== undefined) {
      failed.set(name, whyNot);
      continue;
    }
    const others = inputs.inFlight(name);
    if (others.length === 0 || trials.isFree(view.node, others)) fits.push(name);
    else contended.push(name);
  }
  return { fits, contended, failed };
}
