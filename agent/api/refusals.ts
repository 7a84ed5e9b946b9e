// Connections that a listener of the agent's could not take: counted each, and logged now and then.
import { Counter, type Registry } from 'prom-client';
import { type Logger, rateLimitedWarnings } from '../log.ts';

const WARNING_INTERVAL_MS = 60_000;

/** `limit`: too many at the time; `accept`: the kernel had no memory or no descriptor for it. */
export type UnservedReason = 'limit' | 'accept';

/** @param listener - which of the agent's, as an administrator knows it: `topology.sock` */
export type OnUnserved = (listener: string, why: UnservedReason, detail: string) => void;

/** @returns what the listeners call */
export function recordUnserved(registry: Registry, logger: Logger): OnUnserved {
  const unserved = new Counter({
    name: 'holdfast_connections_unserved_total',
    help: 'Connections that were not served: too many at the time (limit), or refused by the kernel (accept).',
    labelNames: ['listener', 'why'],
    registers: [registry],
  });
  const warn = rateLimitedWarnings(logger, WARNING_INTERVAL_MS);
  return (listener, why, detail) => {
    unserved.inc({ listener, why });
    warn(`${listener} ${why}`, { why, detail }, `${listener}: a connection was not served`);
  };
}
