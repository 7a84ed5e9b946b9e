// Waiting for time to pass.
import { setTimeout as delay } from 'node:timers/promises';

/** @throws the signal's reason as soon as it says stop */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
