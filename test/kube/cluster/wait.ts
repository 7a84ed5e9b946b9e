// Waiting for what other programs do, within a limit and without costing them much.
import { setTimeout as delay } from 'node:timers/promises';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';

/** For what several busy programs do one after the other. */
export const PATIENCE_MS = 240_000;
/** Between two looks, each of which costs the API server something. */
const LOOK_MS = 250;

/** Asks until the condition holds; fails with what is missing. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  await pollUntil(what, PATIENCE_MS, async () => ((await holds()) ? true : await delay(LOOK_MS, undefined)));
}
