// The read-only services over TCP: for schedulers on other hosts. Nothing stops when it cannot be served: it is tried
// again, and said in status, log and metrics.
import { Counter, Gauge, type Registry } from 'prom-client';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { AgentConfig } from '../config/schema.ts';
import { isLoopback, topologyAddress } from '../config/topology-address.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import { type Logger, rateLimitedWarnings } from '../log.ts';
import { type Job, startJob } from '../schedule.ts';
import type { FinishedCall } from './call-adapter.ts';
import { type Certificates, readCertificates, validity } from './certificates.ts';
import { createGrpcServer, type GrpcServer, type ImplementedService } from './grpc-server.ts';
import { listenTcp, type RefusalReason, type TcpListener } from './tcp-listener.ts';

/** How often the certificates are looked at, and an endpoint that could not be opened is tried again. */
const REFRESH_CRON = '*/5 * * * * *';
const WARNING_INTERVAL_MS = 60_000;

/** Of connections from other hosts; those of one host have none of these. */
const LIMITS = {
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  'grpc.max_concurrent_streams': 256,
  // A peer that lost its power is found by a ping that nobody answers.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.max_connection_idle_ms': 300_000,
  // Streams may last for ever: now and then a client must show its certificate again.
  'grpc.max_connection_age_ms': 3_600_000,
  'grpc.max_connection_age_grace_ms': 10_000,
} as const;
const MOST_CONNECTIONS = 512;
const MOST_HALF_OPEN = 64;
const HANDSHAKE_MS = 10_000;

export interface TcpEndpointOptions {
  readonly config: AgentConfig['topologyApi'];
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly onFinished: (call: FinishedCall) => void;
  /** Ends the looking at certificates. */
  readonly signal: AbortSignal;
}

interface Opened {
  readonly listener: TcpListener;
  readonly server: GrpcServer;
}

export class TcpEndpoint {
  readonly #options: TcpEndpointOptions;
  readonly #refused: Counter<'why'>;
  readonly #reloads: Counter<'result'>;
  readonly #warn: ReturnType<typeof rateLimitedWarnings>;
  #services: readonly ImplementedService[] = [];
  #opened: Opened | undefined;
  #certificates: Certificates | undefined;
  /** Why it is not served, or served with former certificates. */
  #problem: string | undefined;
  #job: Job | undefined;
  #closed = false;

  constructor(options: TcpEndpointOptions) {
    const registers = [options.metrics];
    this.#options = options;
    this.#warn = rateLimitedWarnings(options.logger, WARNING_INTERVAL_MS);
    this.#refused = new Counter({
      name: 'holdfast_topology_api_refused_total',
      help: 'Connections over TCP that were refused: too many at the time, or without a good certificate.',
      labelNames: ['why'],
      registers,
    });
    this.#reloads = new Counter({
      name: 'holdfast_topology_api_certificate_reloads_total',
      help: 'Times the certificates of the TCP server had changed, by whether the new ones could be used.',
      labelNames: ['result'],
      registers,
    });
    const connections = (): number => this.#opened?.listener.connections() ?? 0;
    new Gauge({
      name: 'holdfast_topology_api_connections',
      help: 'Connections over TCP that are open.',
      registers,
      collect() {
        this.set(connections());
      },
    });
    const certificates = (): Certificates | undefined => this.#certificates;
    new Gauge({
      name: 'holdfast_topology_api_certificate_expiry_seconds',
      help: 'When the certificate in use expires, in seconds since 1970.',
      labelNames: ['subject'],
      registers,
      collect() {
        const used = certificates();
        this.reset();
        if (used !== undefined) this.set({ subject: used.subject }, used.notAfter.getTime() / 1000);
      },
    });
  }

  /** Where it is served; undefined while it is not. */
  get address(): { readonly host: string; readonly port: number } | undefined {
    return this.#opened?.listener;
  }

  /** Serves them as soon as that can be done. Never throws: what is wrong is in {@link status}. */
  async open(services: readonly ImplementedService[]): Promise<void> {
    const { config, signal, logger } = this.#options;
    if (config.tls === undefined && (config.address === undefined || config.address === 'off')) return;
    this.#services = services;
    this.#job = startJob({
      name: 'topology api',
      cron: REFRESH_CRON,
      run: () => this.#refresh(),
      signal,
      onFinished: ({ error }) => {
        if (error !== undefined) logger.error({ err: error }, 'looking at the topology api failed');
      },
    });
    await this.refresh();
  }

  /** Opens it when it is not open, and looks at the certificates. */
  async refresh(): Promise<void> {
    await this.#job?.now();
  }

  status(): readonly StatusLine[] {
    const subject = 'topology api';
    const opened = this.#opened;
    if (opened === undefined) {
      return this.#problem === undefined
        ? []
        : [{ subject, level: 'failed', text: `not served over TCP: ${this.#problem}; trying again` }];
    }
    const { host, port } = opened.listener;
    const used = this.#certificates;
    const how = used === undefined ? 'without TLS, for this host alone' : `mutual TLS as ${used.subject}`;
    const text = `${host} port ${port}, ${how}, ${opened.listener.connections()} connections`;
    if (used === undefined) return [{ subject, level: 'ok', text }];
    const now = new Date();
    const isValid = now >= used.notBefore && now <= used.notAfter;
    return [
      { subject, level: isValid ? 'ok' : 'warning', text: `${text}; certificate ${validity(used, now)}` },
      ...(this.#problem === undefined
        ? []
        : [{ subject, level: 'warning' as const, text: `${this.#problem}; the former certificates are in use` }]),
      ...used.remarks.map((remark) => ({ subject, level: 'warning' as const, text: remark })),
    ];
  }

  /** Calls that are under way have `graceMs` milliseconds left. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    const opened = this.#opened;
    await opened?.server.close(graceMs, () => opened.listener.close());
    await this.#job?.stopped();
  }

  async #refresh(): Promise<void> {
    try {
      await this.#openOrReplace();
      if (this.#problem !== undefined) this.#options.logger.info({}, 'the topology api is as configured again');
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const problem = describeError(error);
      if (problem === this.#problem) return;
      this.#problem = problem;
      if (this.#opened !== undefined) this.#reloads.inc({ result: 'failed' });
      this.#options.logger.warn({ error: problem }, 'topology api over TCP: trying again');
    }
  }

  async #openOrReplace(): Promise<void> {
    const { config, logger } = this.#options;
    const where = topologyAddress(config);
    if (where === undefined || this.#closed) return;
    const read = config.tls && (await readCertificates(config.tls));
    if (this.#opened === undefined) {
      await this.#listen(where, read);
      this.#certificates = read;
      return;
    }
    const used = this.#certificates;
    if (read === undefined || used === undefined) return;
    if (read.cert !== used.cert || read.key !== used.key || read.ca !== used.ca) {
      this.#opened.listener.replace(read);
      this.#reloads.inc({ result: 'ok' });
      logger.info({ subject: read.subject, notAfter: read.notAfter }, 'topology api: certificates replaced');
    }
    this.#certificates = read;
  }

  async #listen(where: { readonly host: string; readonly port: number }, certificates?: Certificates): Promise<void> {
    const { onFinished, logger } = this.#options;
    const server = createGrpcServer({ services: this.#services, onFinished, limits: LIMITS });
    const onRefused = (why: RefusalReason, peer: string, detail: string): void => {
      this.#refused.inc({ why });
      this.#warn(`${why} ${peer}`, { peer, detail }, 'topology api: connection refused');
    };
    const listener = await listenTcp({
      ...where,
      certificates,
      mostConnections: MOST_CONNECTIONS,
      mostHalfOpen: MOST_HALF_OPEN,
      handshakeMs: HANDSHAKE_MS,
      onConnection: (connection) => server.accept(connection),
      onRefused,
    });
    const { host, port } = listener;
    if (this.#closed || (certificates === undefined && !isLoopback(host))) {
      await server.close(0, () => listener.close());
      if (this.#closed) return;
      throw new HoldfastError('INVALID_CONFIG', `${where.host} is ${host}, which other hosts can reach`);
    }
    this.#opened = { listener, server };
    logger.info({ host, port, tls: certificates !== undefined }, 'topology api over TCP');
  }
}
