// The read-only services over TCP: for schedulers on other hosts. Nothing stops when it cannot be served, and nothing
// waits for it: it is tried again, and said in status, log and metrics.
import type { Registry } from 'prom-client';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { AgentConfig } from '../config/schema.ts';
import { isLoopback, topologyAddress } from '../config/topology-address.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import { type Logger, rateLimitedWarnings } from '../log.ts';
import { type Job, startJob } from '../schedule.ts';
import type { FinishedCall } from './call-adapter.ts';
import { type Certificates, readCertificates, requireSuccessor } from './certificates.ts';
import { createGrpcServer, type GrpcServer, type ImplementedService } from './grpc-server.ts';
import { grpcLimitsOverTcp, TCP_LIMITS, type TcpLimits } from './limits.ts';
import { listenTcp, type RefusalReason, type TcpListener } from './tcp-listener.ts';
import { recordTcp, type TcpMetrics, type TcpState, tcpStatus } from './tcp-report.ts';

/** How often the certificates are looked at, and an endpoint that could not be opened is tried again. */
const REFRESH_CRON = '*/5 * * * * *';
const WARNING_INTERVAL_MS = 60_000;
/** Milliseconds that anybody waits for certificates. Reading them takes a few, and without end where a mount hangs. */
const READING_MS = 2000;

export interface TcpEndpointOptions {
  readonly config: AgentConfig['topologyApi'];
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly onFinished: (call: FinishedCall) => void;
  /** Ends the looking at certificates. */
  readonly signal: AbortSignal;
  readonly limits?: TcpLimits;
  /** Where certificates come from; the files, unless a test has others. */
  readonly read?: typeof readCertificates;
}

interface Opened {
  readonly listener: TcpListener;
  readonly server: GrpcServer;
}

/** Resolves when the work is done, and after that many milliseconds at the latest; the work goes on. */
async function atMost(ms: number, work: Promise<unknown> | undefined): Promise<'done' | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms);
  });
  try {
    return await Promise.race([late, Promise.resolve(work).then(() => 'done' as const)]);
  } finally {
    clearTimeout(timer);
  }
}

export class TcpEndpoint {
  readonly #options: TcpEndpointOptions;
  readonly #limits: TcpLimits;
  readonly #metrics: TcpMetrics;
  readonly #warn: ReturnType<typeof rateLimitedWarnings>;
  #services: readonly ImplementedService[] = [];
  #opened: Opened | undefined;
  #certificates: Certificates | undefined;
  /** Why it is not served, or served with former certificates. */
  #problem: string | undefined;
  #job: Job | undefined;
  #closed = false;

  constructor(options: TcpEndpointOptions) {
    this.#options = options;
    this.#limits = options.limits ?? TCP_LIMITS;
    this.#warn = rateLimitedWarnings(options.logger, WARNING_INTERVAL_MS);
    this.#metrics = recordTcp(options.metrics, () => this.#state());
  }

  /** Where it is served; undefined while it is not. */
  get address(): { readonly host: string; readonly port: number } | undefined {
    return this.#opened?.listener;
  }

  /** Serves them as soon as that can be done, maybe later. Never throws: what is wrong is in {@link status}. */
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
    await atMost(READING_MS, this.refresh());
  }

  /** Opens it when it is not open, and looks at the certificates. */
  async refresh(): Promise<void> {
    await this.#job?.now();
  }

  status(): readonly StatusLine[] {
    return tcpStatus(this.#state(), new Date());
  }

  /** Calls that are under way have `graceMs` milliseconds left, and so have files that are being read. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    const opened = this.#opened;
    await opened?.server.close(graceMs, () => opened.listener.close());
    await atMost(graceMs, this.#job?.stopped());
  }

  #state(): TcpState {
    return { listener: this.#opened?.listener, certificates: this.#certificates, problem: this.#problem };
  }

  /** Logs a problem once, however often it is found. */
  #tell(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (this.#opened !== undefined) this.#metrics.reloaded('failed');
    this.#options.logger.warn({ error: problem }, 'topology api over TCP: trying again');
  }

  async #refresh(): Promise<void> {
    try {
      await this.#openOrReplace();
      if (this.#problem !== undefined) this.#options.logger.info({}, 'the topology api is as configured again');
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#tell(describeError(error));
    }
  }

  async #openOrReplace(): Promise<void> {
    const { config, logger, read = readCertificates } = this.#options;
    const where = topologyAddress(config);
    if (where === undefined || this.#closed) return;
    const reading = config.tls && read(config.tls);
    if ((await atMost(READING_MS, reading)) === 'late') {
      this.#tell('the certificates are still being read: does their file system answer?');
    }
    const next = await reading;
    if (this.#opened === undefined) {
      await this.#listen(where, next);
      this.#certificates = next;
      return;
    }
    const used = this.#certificates;
    if (next === undefined || used === undefined) return;
    if (next.cert !== used.cert || next.key !== used.key || next.ca !== used.ca) {
      requireSuccessor(used, next, new Date());
      this.#opened.listener.replace(next);
      this.#metrics.reloaded('ok');
      logger.info({ subject: next.subject, notAfter: next.notAfter }, 'topology api: certificates replaced');
    }
    this.#certificates = next;
  }

  async #listen(where: { readonly host: string; readonly port: number }, certificates?: Certificates): Promise<void> {
    const { onFinished, logger } = this.#options;
    const limits = this.#limits;
    const server = createGrpcServer({ services: this.#services, onFinished, limits: grpcLimitsOverTcp(limits) });
    const onRefused = (why: RefusalReason, peer: string, detail: string): void => {
      this.#metrics.refused(why);
      this.#warn(`${why} ${peer}`, { peer, detail }, 'topology api: connection refused');
    };
    const listener = await listenTcp({
      ...where,
      certificates,
      limits,
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
