// How long ago something was, for tables.

/**
 * @param sinceMs - milliseconds since the epoch
 * @param now - likewise
 * @returns the time between in one unit, such as `3h`; `0s` for what is to come
 */
export function formatAge(sinceMs: bigint, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Number(sinceMs)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
