// Where `holdfast topology` gets a host and its allocations from: an agent on a unix socket or over TCP. Both messages are
// of one version, so that what is drawn was never put together from two moments.
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import { HoldfastError } from '../../lib/errors.ts';
import { callServerStream, callUnary, connectTcp, connectUnix } from '../../lib/grpc-client.ts';
import {
  GetTopologyRequestSchema,
  type HostTopology,
  ListAllocationsRequestSchema,
  type ListAllocationsResponse,
  Topology,
  WatchTopologyRequestSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { isLoopback } from '../config/topology-address.ts';
import { agentError } from './ask-agent.ts';
import { endpointError, hostOfEndpoint } from './topology-endpoint.ts';

const TIMEOUT_MS = 10_000;
/** A watch ends after this long, and begins again. */
const WATCH_MS = 24 * 3_600_000;
/** Between attempts to watch again. */
const RETRY_MS = 1000;
/** Looks until both messages are of one version; a host that changes faster is shown as it was a moment apart. */
const LOOKS = 10;

export interface SourceOptions {
  readonly socket: string;
  /** `HOST:PORT` */
  readonly endpoint?: string;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly serverName?: string;
}

export interface HostState {
  readonly host: HostTopology;
  readonly allocations: ListAllocationsResponse;
}

async function readPem(option: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new HoldfastError('NOT_FOUND', `${option} ${path} cannot be read`, { cause });
  }
}

/** @throws HoldfastError INVALID_REQUEST for options that do not go together, NOT_FOUND for files that cannot be read */
async function connect(options: SourceOptions): Promise<Client> {
  const { endpoint, tlsCa, tlsCert, tlsKey, serverName } = options;
  const some = [tlsCa, tlsCert, tlsKey, serverName].some((option) => option !== undefined);
  if (endpoint === undefined) {
    if (some) throw new HoldfastError('INVALID_REQUEST', '--tls-… and --server-name need --endpoint');
    return connectUnix(options.socket);
  }
  const host = hostOfEndpoint(endpoint);
  if (tlsCa === undefined || tlsCert === undefined || tlsKey === undefined) {
    if (!some && isLoopback(host)) return connectTcp(endpoint, undefined);
    throw new HoldfastError('INVALID_REQUEST', `${host} is asked with --tls-ca, --tls-cert and --tls-key`);
  }
  const [ca, cert, key] = await Promise.all([
    readPem('--tls-ca', tlsCa),
    readPem('--tls-cert', tlsCert),
    readPem('--tls-key', tlsKey),
  ]);
  try {
    return connectTcp(endpoint, { ca, cert, key, ...(serverName === undefined ? {} : { serverName }) });
  } catch (cause) {
    throw new HoldfastError('INVALID_REQUEST', 'the certificates cannot be used', { cause });
  }
}

export class TopologySource {
  readonly #client: Client;
  /** What a failed call means. */
  readonly #explain: (error: unknown) => unknown;

  private constructor(client: Client, { endpoint, socket }: SourceOptions) {
    this.#client = client;
    this.#explain = (error) => (endpoint === undefined ? agentError(error, socket) : endpointError(error, endpoint));
  }

  /** Connects at the first question. @throws HoldfastError INVALID_REQUEST, NOT_FOUND */
  static async open(options: SourceOptions): Promise<TopologySource> {
    return new TopologySource(await connect(options), options);
  }

  /** @throws HoldfastError UNAVAILABLE when nothing answers; else what the agent sent */
  async read(): Promise<HostState> {
    const options = { timeoutMs: TIMEOUT_MS };
    try {
      for (let look = 1; ; look += 1) {
        const [host, allocations] = await Promise.all([
          callUnary(this.#client, Topology.method.getTopology, create(GetTopologyRequestSchema), options),
          callUnary(this.#client, Topology.method.listAllocations, create(ListAllocationsRequestSchema), options),
        ]);
        // An agent of an earlier version does not say which version it lists.
        const isOne = allocations.version === host.version || allocations.version === 0n;
        if (isOne || look === LOOKS) return { host, allocations };
      }
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /**
   * The present state, then the state after each change. Goes on when the agent is started again.
   * @param onAway - told once why nothing comes
   * @param signal - ends it; its reason is thrown
   * @throws HoldfastError as {@link read}, when the agent was not there at the beginning
   */
  async *watch(onAway: (why: string) => void, signal: AbortSignal): AsyncGenerator<HostState, void, undefined> {
    let shown = await this.read();
    yield shown;
    let away = false;
    for (;;) {
      try {
        const stream = callServerStream(
          this.#client,
          Topology.method.watchTopology,
          create(WatchTopologyRequestSchema),
          { timeoutMs: WATCH_MS, signal },
        );
        for await (const { version } of stream) {
          away = false;
          if (version === shown.host.version) continue;
          const state = await this.read();
          if (state.host.version === shown.host.version) continue;
          shown = state;
          yield shown;
        }
      } catch (error) {
        signal.throwIfAborted();
        const translated = this.#explain(error);
        const waitable =
          translated instanceof HoldfastError && ['UNAVAILABLE', 'DEADLINE', 'HOST_FAILURE'].includes(translated.code);
        if (!waitable) throw translated;
        if (!away) onAway(translated.message);
        away = true;
      }
      await sleep(RETRY_MS, undefined, { signal });
    }
  }

  close(): void {
    this.#client.close();
  }
}
