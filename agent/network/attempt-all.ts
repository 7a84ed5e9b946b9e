// Work that is done piece by piece, none of which is kept back by another one's failure.
import { describeError, HoldfastError } from '../../lib/errors.ts';

const MOST_TOLD = 5;

/**
 * One after the other, to the last.
 * @param what - for the message, such as `collected`
 * @throws HoldfastError UNAVAILABLE that tells of the first failures, the first as its cause; the signal's reason
 */
export async function attemptAll(
  works: Iterable<() => Promise<unknown>>,
  what: string,
  signal: AbortSignal,
): Promise<void> {
  const failures: unknown[] = [];
  for (const work of works) {
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      failures.push(error);
    }
  }
  if (failures.length === 0) return;
  const told = failures.slice(0, MOST_TOLD).map(describeError).join('; ');
  throw new HoldfastError('UNAVAILABLE', `not all could be ${what}: ${told}`, { cause: failures[0] });
}
