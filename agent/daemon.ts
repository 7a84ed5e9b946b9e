// The agent's life: wire, serve, recover, say READY, keep up, and on shutdown leave in order.
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../lib/errors.ts';
import { connectServiceManager } from '../lib/systemd-notify.ts';
import type { AgentConfig } from './config/schema.ts';
import { type WiredAgent, wireAgent } from './wiring.ts';

export interface DaemonOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
}

/** How long READY waits for the runtime: systemd must not take a host whose runtime starts later for a broken agent. */
const READY_WITHOUT_RUNTIME_MS = 30_000;
/** Between attempts to recover while the runtime does not answer. */
const RECOVERY_INTERVAL_MS = 500;
/** What steps that are under way at shutdown may still take. */
const DRAIN_MS = 10_000;

/**
 * Runs until `shutdown` is aborted, then leaves in order.
 * @throws HoldfastError when it cannot start: sockets in use, no state directory, unreadable topology
 */
export async function runAgent({ config, version, logger, shutdown }: DaemonOptions): Promise<void> {
  const manager = await connectServiceManager(process.env, (error) =>
    logger.warn({ error: describeError(error) }, 'systemd could not be told'),
  );
  const agent = await wireAgent({ config, version, logger, shutdown });
  try {
    await agent.serve();
    const recovered = recover(agent, logger, shutdown);
    await Promise.race([recovered, delay(READY_WITHOUT_RUNTIME_MS, shutdown)]);
    if (!shutdown.aborted) manager.ready();
    await recovered;
    if (!shutdown.aborted) {
      agent.startSchedules();
      logger.info({}, 'holdfast agent ready');
      if (!shutdown.aborted) await once(shutdown, 'abort');
    }
    logger.info({ reason: describeError(shutdown.reason) }, 'holdfast agent stopping');
  } finally {
    manager.stopping();
    await agent.close(DRAIN_MS);
    manager.close();
  }
}

/** Tries until it succeeds or the shutdown comes: without the runtime there is nothing to do but wait. */
async function recover(agent: WiredAgent, logger: Logger, shutdown: AbortSignal): Promise<void> {
  let told: string | undefined;
  while (!shutdown.aborted) {
    try {
      await agent.recover(shutdown);
      return;
    } catch (error) {
      const why = describeError(error);
      const waitable = error instanceof HoldfastError && error.code === 'UNAVAILABLE';
      if (why !== told && !shutdown.aborted)
        logger[waitable ? 'warn' : 'error']({ error: why }, 'not recovered yet; trying again');
      told = why;
      await delay(RECOVERY_INTERVAL_MS, shutdown);
    }
  }
}

/** Resolves after the time, or when the signal is aborted. */
async function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await setTimeout(milliseconds, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
