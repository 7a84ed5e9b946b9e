// What can be seen of addresses in Prometheus.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Handover } from './lease-context.ts';

export interface NetworkMetrics {
  readonly handovers: Counter<'event' | 'pool'>;
  readonly collected: Counter<'what'>;
  readonly takenDown: Counter;
  readonly takingDownSeconds: Gauge;
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
    takenDown: new Counter({
      name: 'holdfast_ip_taken_down_total',
      help: 'Interfaces that were silenced because this host had no lease in etcd any more.',
      registers: [registry],
    }),
    takingDownSeconds: new Gauge({
      name: 'holdfast_ip_taking_down_seconds',
      help: 'From the end of the lease until the last of the addresses was down, the last time: must be less than fencingDelay.',
      registers: [registry],
    }),
  };
}

/** Pod names are not in metrics: there is no end of them. */
export function countHandover({ handovers }: NetworkMetrics, { event, pool }: Handover): void {
  handovers.inc({ event, pool });
}

/** @param ms - milliseconds from the end of the lease until the last was down */
export function countTakenDown(metrics: NetworkMetrics, interfaces: number, ms: number): void {
  metrics.takenDown.inc(interfaces);
  metrics.takingDownSeconds.set(ms / 1000);
}
