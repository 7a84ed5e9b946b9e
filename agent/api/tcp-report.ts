// What the TCP endpoint says of itself: a line or more of `holdfast status`, and its metrics.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { StatusLine } from '../lifecycle/feature.ts';
import { type Certificates, isValid, validity } from './certificates.ts';
import type { RefusalReason, TcpListener } from './tcp-listener.ts';

/** As it is now. */
export interface TcpState {
  /** Undefined while it is not served. */
  readonly listener: Pick<TcpListener, 'host' | 'port' | 'connections'> | undefined;
  /** Those in use; undefined without TLS. */
  readonly certificates: Certificates | undefined;
  /** Why it is not served, or served with former certificates. */
  readonly problem: string | undefined;
}

export function tcpStatus({ listener, certificates, problem }: TcpState, now: Date): readonly StatusLine[] {
  const subject = 'topology api';
  if (listener === undefined) {
    return problem === undefined
      ? []
      : [{ subject, level: 'failed', text: `not served over TCP: ${problem}; trying again` }];
  }
  const { host, port } = listener;
  const how = certificates === undefined ? 'without TLS, for this host alone' : `mutual TLS as ${certificates.subject}`;
  const text = `${host} port ${port}, ${how}, ${listener.connections()} connections`;
  if (certificates === undefined) return [{ subject, level: 'ok', text }];
  const level = isValid(certificates, now) ? 'ok' : 'warning';
  return [
    { subject, level, text: `${text}; certificate ${validity(certificates, now)}` },
    ...(problem === undefined
      ? []
      : [{ subject, level: 'warning' as const, text: `${problem}; the former certificates are in use` }]),
    ...certificates.remarks.map((remark) => ({ subject, level: 'warning' as const, text: remark })),
  ];
}

export interface TcpMetrics {
  refused(why: RefusalReason): void;
  /** New certificates were found. */
  reloaded(result: 'ok' | 'failed'): void;
}

/** @param state - asked whenever metrics are collected */
export function recordTcp(registry: Registry, state: () => TcpState): TcpMetrics {
  const registers = [registry];
  const refused = new Counter({
    name: 'holdfast_topology_api_refused_total',
    help: 'Connections over TCP that were refused: too many at the time, without a good certificate, or by the kernel.',
    labelNames: ['why'],
    registers,
  });
  const reloads = new Counter({
    name: 'holdfast_topology_api_certificate_reloads_total',
    help: 'Times the certificates of the TCP server had changed, by whether the new ones could be used.',
    labelNames: ['result'],
    registers,
  });
  new Gauge({
    name: 'holdfast_topology_api_connections',
    help: 'Connections over TCP that are open.',
    registers,
    collect() {
      this.set(state().listener?.connections() ?? 0);
    },
  });
  new Gauge({
    name: 'holdfast_topology_api_certificate_expiry_seconds',
    help: 'When the certificate in use expires, in seconds since 1970.',
    labelNames: ['subject'],
    registers,
    collect() {
      const { certificates } = state();
      this.reset();
      if (certificates !== undefined) {
        this.set({ subject: certificates.subject }, certificates.notAfter.getTime() / 1000);
      }
    },
  });
  return { refused: (why) => refused.inc({ why }), reloaded: (result) => reloads.inc({ result }) };
}
