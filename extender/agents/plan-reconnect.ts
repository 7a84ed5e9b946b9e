// When an agent is connected to again, and among whom. Pure.

export interface ReconnectTimes {
  /** The longest pause after the first failure; doubled with each further one. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
}

/**
 * Half of it is chance: when a network comes back, thousands of agents must not be connected to at the same moment.
 * @param failures - in a row, from 1
 * @param random - from 0 to 1
 * @returns milliseconds
 */
export function planReconnect(failures: number, random: number, { pauseMs, longestPauseMs }: ReconnectTimes): number {
  const longest = Math.min(longestPauseMs, pauseMs * 2 ** Math.min(30, Math.max(0, failures - 1)));
  return longest * (0.5 + random / 2);
}

/** What is known of an agent when it is to be connected to. */
export interface AgentPast {
  /** Since it told of itself last, milliseconds; undefined: it never did. */
  readonly sinceGoodMs: number | undefined;
  /** Attempts in a row that came to nothing. */
  readonly failures: number;
}

/**
 * Whether nothing may come of connecting to it: such agents wait among themselves, or a zone that is dead would keep
 * those that live from their turn.
 */
export function isDoubtful({ sinceGoodMs, failures }: AgentPast, recentMs: number): boolean {
  return failures > 0 && (sinceGoodMs === undefined || sinceGoodMs > recentMs);
}
