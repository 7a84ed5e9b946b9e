// The log: JSON lines on standard output, which systemd's journal and container runtimes collect.
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** @param destination - standard output unless a test wants the lines */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // Causes carry what the kernel or the runtime said; pino's own serialiser would nest their stacks.
    serializers: { err: pino.stdSerializers.errWithCause },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** How many subjects are remembered; beyond that the ones not heard of for the longest time are forgotten. */
const MAX_SUBJECTS = 1000;

/**
 * Lets a warning that repeats through once per interval and subject, with the number of those that were held back.
 * @param intervalMs - milliseconds
 * @param now - the clock, milliseconds
 * @returns a function that says whether to log: `undefined` for no, else how many were held back since the last time
 */
export function rateLimit(intervalMs: number, now: () => number = Date.now): (subject: string) => number | undefined {
  const subjects = new Map<string, { readonly since: number; held: number }>();
  return (subject) => {
    const known = subjects.get(subject);
    if (known !== undefined && now() - known.since < intervalMs) {
      known.held += 1;
      return undefined;
    }
    subjects.delete(subject);
    subjects.set(subject, { since: now(), held: 0 });
    const [oldest] = subjects.keys();
    if (subjects.size > MAX_SUBJECTS && oldest !== undefined) subjects.delete(oldest);
    return known?.held ?? 0;
  };
}

/**
 * Logs a warning about a subject at most once per interval.
 * @returns the function to warn with; `repeated` in the line says how many were held back
 */
export function rateLimitedWarnings(
  log: Logger,
  intervalMs: number,
): (subject: string, fields: Readonly<Record<string, unknown>>, message: string) => void {
  const allow = rateLimit(intervalMs);
  return (subject, fields, message) => {
    const repeated = allow(subject);
    if (repeated === undefined) return;
    log.warn(repeated === 0 ? { subject, ...fields } : { subject, repeated, ...fields }, message);
  };
}
