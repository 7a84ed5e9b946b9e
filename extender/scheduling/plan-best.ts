// Which of many nodes a pod is answered with: each node that it may go to is kept from others in the meantime. Pure.

export interface Candidate {
  readonly node: string;
  /** As for the ranking, from 0 to 10. */
  readonly score: number;
  /** How many pods may be going there. */
  readonly flights: number;
}

/**
 * The best so many, in the order in which they were given: those that the ranking puts first, and among equals those
 * that the fewest others may be going to.
 */
export function planBest(candidates: readonly Candidate[], most: number): readonly string[] {
  if (candidates.length <= most) return candidates.map(({ node }) => node);
  const ranked = candidates.toSorted((one, other) => other.score - one.score || one.flights - other.flights);
  const chosen = new Set(ranked.slice(0, most).map(({ node }) => node));
  return candidates.flatMap(({ node }) => (chosen.has(node) ? [node] : []));
}
