// What the watch on the API server does next: list or watch, from where, after how long. Pure.

/** How a step ended. */
export type StepEnd =
  | { readonly kind: 'listed' }
  /** The server ended the watch, as it does after the time that it was asked for. */
  | { readonly kind: 'watched' }
  /** 410: the version to go on from is forgotten. */
  | { readonly kind: 'expired' }
  /** The server's state is older than what was seen before. */
  | { readonly kind: 'behind' }
  /** The answer was longer than is read at once. */
  | { readonly kind: 'too-large' }
  | { readonly kind: 'failed'; readonly retryAfterMs?: number };

export interface FollowState {
  readonly step: 'list' | 'watch';
  /**
   * `cache`: whatever the server holds in memory, if it is not older than what was seen; costs it little.
   * `storage`: the newest state, page by page; costs it a look at every pod of the cluster.
   */
  readonly listFrom: 'cache' | 'storage';
  /** Ends in a row that were not good ones. */
  readonly failures: number;
}

export interface StepFacts {
  /** How long the step took, milliseconds. */
  readonly lastedMs: number;
  /** Since the last list, milliseconds. */
  readonly sinceListMs: number;
  /** From 0 to 1. */
  readonly random: number;
}

export interface FollowTimes {
  /** First pause after a failure; doubled with each further one. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
  /** A watch that held this long was a good one. */
  readonly stableMs: number;
  /** Pods are listed anew after this long, in case something was lost. */
  readonly relistMs: number;
}

export const FIRST_STEP: FollowState = { step: 'list', listFrom: 'cache', failures: 0 };

/** A server that asks for patience gets it within reason. */
const LONGEST_RETRY_AFTER_MS = 300_000;

/** @returns the next step, and the pause before it in milliseconds */
export function planFollow(
  state: FollowState,
  end: StepEnd,
  { lastedMs, sinceListMs, random }: StepFacts,
  times: FollowTimes,
): { readonly state: FollowState; readonly pauseMs: number } {
  if (end.kind === 'listed') return { state: { ...state, step: 'watch', listFrom: 'cache' }, pauseMs: 0 };
  const wasStable = state.step === 'watch' && lastedMs >= times.stableMs;
  // One that ends at once, again and again, is no better than one that fails.
  const failures = wasStable ? 0 : state.failures + 1;
  // Servers come back to hundreds of nodes: no two ask at the same time.
  const spread = 0.5 + random / 2;
  const longest = Math.min(times.longestPauseMs, times.pauseMs * 2 ** Math.min(30, Math.max(0, failures - 1)));
  const retryAfterMs = end.kind === 'failed' ? Math.min(end.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS) : 0;
  const isDue = state.step === 'list' || sinceListMs >= times.relistMs;
  return {
    state: {
      step: end.kind === 'expired' || end.kind === 'behind' || end.kind === 'too-large' || isDue ? 'list' : 'watch',
      listFrom: end.kind === 'behind' || end.kind === 'too-large' ? 'storage' : state.listFrom,
      failures,
    },
    pauseMs: Math.max(longest * spread, retryAfterMs),
  };
}
