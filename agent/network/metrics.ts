// What can be seen of addresses in Prometheus.
import { Counter, type Registry } from 'prom-client';
import type { Handover } from './lease-context.ts';

export interface NetworkMetrics {
  readonly handovers: Counter<'event' | 'pool'>;
  readonly collected: Counter<'what'>;
}

export function createNetworkMetrics(registry: Registry): NetworkMetrics {
  return {
    handovers: new Counter<'event' | 'pool'>({
      name: 'holdfast_ip_handovers_total',
      help: 'Addresses that changed hands, by how and by pool.',
      labelNames: ['event', 'pool'] satisfies ('event' | 'pool')[],
      registers: [registry],
    }),
    collected: new Counter<'what'>({
      name: 'holdfast_ip_collected_total',
      help: 'What sandboxes left behind and the agent collected: attachments, interfaces.',
      labelNames: ['what'],
      registers: [registry],
    }),
  };
}

/** Pod names are not in metrics: there is no end of them. */
export function countHandover({ handovers }: NetworkMetrics, { event, pool }: Handover): void {
  handovers.inc({ event, pool });
}
