// Waits for a condition outside our reach (another process, the kernel) by asking again and again, within a limit.
import { setTimeout as delay } from 'node:timers/promises';
import { describeError, HoldfastError } from '../../../lib/errors.ts';

const INTERVAL_MS = 20;

/**
 * Asks until `probe` gives something other than undefined.
 * @param what - ends the sentence "gave up waiting for …"
 * @throws HoldfastError DEADLINE with the last error of the probe as its cause
 */
export async function pollUntil<Result>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<Result | undefined>,
  signal?: AbortSignal,
): Promise<Result> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    let lastError: unknown;
    try {
      const result = await probe();
      if (result !== undefined) return result;
    } catch (error) {
      lastError = error;
    }
    if (Date.now() >= deadline) {
      const detail = lastError === undefined ? '' : ` (${describeError(lastError)})`;
      throw new HoldfastError('DEADLINE', `gave up waiting for ${what} after ${timeoutMs / 1000} s${detail}`, {
        cause: lastError,
      });
    }
    await delay(INTERVAL_MS, undefined, signal && { signal });
  }
}
