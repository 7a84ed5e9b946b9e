// When the NodeResourceTopology object is applied next, when it is looked after, whether by force, and what people are
// told. Pure.

/** How one attempt ended. */
export type ApplyEnd =
  /** `isLook`: everything was read anew for it. */
  | { readonly kind: 'applied'; readonly isLook: boolean }
  /** Nothing was sent: the object is to be what was applied last. */
  | { readonly kind: 'unchanged' }
  /** Others own the fields with other values. */
  | { readonly kind: 'conflict'; readonly managers: readonly string[] }
  | { readonly kind: 'failed'; readonly problem: string; readonly retryAfterMs?: number };

/** Somebody else who writes the object, or once did. */
export interface Rival {
  readonly managers: readonly string[];
  /** How often it had the fields. Once may be what it left behind; twice, it is alive. */
  readonly times: number;
  /** When it last had them, milliseconds. */
  readonly seenAt: number;
}

export interface ApplyState {
  /** Failures in a row. */
  readonly failures: number;
  readonly problem?: string;
  readonly rival?: Rival;
  /** The next attempt takes the fields from whoever has them. */
  readonly force: boolean;
  /** When the next attempt is a look, whatever has changed: milliseconds. Absent: at once. */
  readonly lookAt?: number;
}

export interface ApplyTimes {
  /** Changes within this time are applied together, milliseconds. */
  readonly settleMs: number;
  /** First pause after a failure; doubled with each further one. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
  /**
   * The object is looked after this often, changes or not: somebody else may have changed or deleted it, its Node may
   * have been made anew, and the credentials may be others.
   */
  readonly verifyMs: number;
  /** A live rival has the fields taken from it no more often than this; quiet for so long, it counts as gone. */
  readonly rivalMs: number;
}

export const APPLY_TIMES: ApplyTimes = {
  settleMs: 1000,
  pauseMs: 1000,
  longestPauseMs: 60_000,
  verifyMs: 60_000,
  rivalMs: 10 * 60_000,
};

export const FIRST_APPLY: ApplyState = { failures: 0, force: false };

/** A server that asks for patience gets it within reason. */
const LONGEST_RETRY_AFTER_MS = 300_000;

export interface NextApply {
  readonly state: ApplyState;
  /** Nothing is applied for so long, whatever changes. */
  readonly pauseMs: number;
  /** Then for a change, or so long: milliseconds. 0: at once. */
  readonly waitMs: number;
}

/** Whether the next attempt goes by nothing that was read or applied before. */
export function isLookDue({ lookAt }: ApplyState, now: number): boolean {
  return lookAt === undefined || now >= lookAt;
}

/**
 * @param now - milliseconds, of any clock that does not go back
 * @param random - from 0 to 1: no two nodes ask at the same time
 */
export function planApply(
  before: ApplyState,
  end: ApplyEnd,
  { now, random }: { readonly now: number; readonly random: number },
  times: ApplyTimes,
): NextApply {
  const { rival, failures, force, lookAt } = before;
  const spread = 0.5 + random / 2;
  const settled = now + times.settleMs;
  const until = (time: number): number => Math.max(0, time - settled);
  switch (end.kind) {
    case 'unchanged':
      return { state: before, pauseMs: times.settleMs, waitMs: until(lookAt ?? settled) };
    case 'applied': {
      // Quiet is what it is from the time on when the fields were taken from it.
      const seen = rival && force ? { ...rival, seenAt: now } : rival;
      const isLeft = seen !== undefined && now - seen.seenAt < times.rivalMs;
      const nextLook = end.isLook || lookAt === undefined ? settled + times.verifyMs * spread : lookAt;
      const state = { failures: 0, force: false, lookAt: nextLook, ...(isLeft ? { rival: seen } : {}) };
      return { state, pauseMs: times.settleMs, waitMs: until(nextLook) };
    }
    case 'conflict': {
      const next: Rival = { managers: end.managers, times: (rival?.times ?? 0) + 1, seenAt: now };
      // One that has it for a second time is alive: two that take it from each other in turn help nobody.
      const pauseMs = next.times === 1 ? 0 : times.rivalMs;
      return { state: { failures: 0, force: true, rival: next }, pauseMs, waitMs: 0 };
    }
    case 'failed': {
      const longest = Math.min(times.longestPauseMs, times.pauseMs * 2 ** Math.min(30, failures));
      const patience = Math.min(end.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS);
      const state = { failures: failures + 1, force, problem: end.problem, ...(rival && { rival }) };
      return { state, pauseMs: Math.max(longest * spread, patience), waitMs: 0 };
    }
  }
}

export interface ApplyView {
  readonly level: 'ok' | 'warning' | 'failed';
  readonly text: string;
}

/** What `holdfast status` says. */
export function describeApply({ problem, rival }: ApplyState, nodeName: string): ApplyView {
  if (problem !== undefined) return { level: 'warning', text: `the object is not up to date: ${problem}` };
  if (rival === undefined) return { level: 'ok', text: `object ${nodeName}` };
  const names = rival.managers.join(', ') || 'somebody else';
  if (rival.times === 1) return { level: 'warning', text: `object ${nodeName} was taken over from ${names}` };
  return {
    level: 'failed',
    text: `${names} writes the object ${nodeName}, too: schedulers see what it says; turn it off for this node (docs/node-resource-topology.md)`,
  };
}
