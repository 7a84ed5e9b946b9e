// How long to wait before an agent is connected to again. Pure.

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
