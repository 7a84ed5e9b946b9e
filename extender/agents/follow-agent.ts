// Follows one agent: a stream of its topology, its allocations for each version, and a new connection after each end.
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { type Client, connectivityState } from '@grpc/grpc-js';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { callServerStream, callUnary } from '../../lib/grpc-client.ts';
import {
  type HostTopology,
  ListAllocationsRequestSchema,
  type ListAllocationsResponse,
  Topology,
  WatchTopologyRequestSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { AgentEndpoint } from './connect.ts';
import type { Gate, Gates } from './gate.ts';
import { type Published, planJoin } from './plan-join.ts';
import { isDoubtful, planReconnect, type ReconnectTimes } from './plan-reconnect.ts';

export interface AgentTimes extends ReconnectTimes {
  /** From the first byte to the first joined state. */
  readonly connectMs: number;
  /** Until it gives its place among those that connect to the next one, when nothing has come of it. */
  readonly placeMs: number;
  /** So long after its last good connection an agent is connected to as if nothing had been amiss. */
  readonly recentMs: number;
  readonly callMs: number;
  /** A stream that lasted so long is begun anew, on a connection with the present certificates. */
  readonly streamMs: number;
  /** Before allocations that are behind are asked for again. */
  readonly againMs: number;
}

export const AGENT_TIMES: AgentTimes = {
  pauseMs: 1000,
  longestPauseMs: 30_000,
  connectMs: 20_000,
  placeMs: 1000,
  recentMs: 300_000,
  callMs: 10_000,
  streamMs: 3_600_000,
  againMs: 50,
};

/** To get allocations that are not behind the topology. */
const MOST_ATTEMPTS = 100;

export interface FollowAgentOptions {
  readonly endpoint: AgentEndpoint;
  readonly connect: (endpoint: AgentEndpoint) => Promise<Client>;
  /** Connections that are being made; shared by all agents. */
  readonly gates: Gates;
  readonly times: AgentTimes;
  readonly signal: AbortSignal;
  /** May throw when the messages make no sense; the connection is given up then. */
  readonly onPublished: (published: Published) => void;
  /** It had its turn: something came of it, or the others need not wait for it. */
  readonly onTried: () => void;
  /** The connection has ended, or was never made. */
  readonly onLost: (problem: string) => void;
}

/** Runs until the signal is aborted; throws nothing. */
export async function followAgent(options: FollowAgentOptions): Promise<void> {
  const { times, signal, gates, onLost } = options;
  let failures = 0;
  let goodAt: number | undefined;
  let connecting: Client | undefined;
  while (!signal.aborted) {
    const past = { failures, sinceGoodMs: goodAt === undefined ? undefined : performance.now() - goodAt };
    const gate = isDoubtful(past, times.recentMs) ? gates.doubtful : gates.prompt;
    const connection = new Connection(options, gate, connecting);
    const problem = await connection.run();
    connecting = connection.stillConnecting;
    if (signal.aborted) break;
    if (connection.wasGood) goodAt = performance.now();
    failures = connection.wasGood ? 1 : failures + 1;
    onLost(problem);
    await pause(planReconnect(failures, Math.random(), times), signal);
  }
  connecting?.close();
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(milliseconds, undefined, { signal, ref: false });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Above the library's first pause after a failure, 1 s and a fifth. */
const LAST_TRY_MS = 2000;

/**
 * Closes the client. After a failure the library connects once more on its own, even for a client that is closed by
 * then, and nobody would end that connection: it is closed after that.
 */
function closeForGood(client: Client): void {
  const channel = client.getChannel();
  const { TRANSIENT_FAILURE } = connectivityState;
  if (channel.getConnectivityState(false) !== TRANSIENT_FAILURE) client.close();
  // Not inside its own callback: what it is about to do there would connect again.
  else
    channel.watchConnectivityState(TRANSIENT_FAILURE, Date.now() + LAST_TRY_MS, () =>
      setImmediate(() => client.close()),
    );
}

class Connection {
  /** At least one state was joined. */
  wasGood = false;
  /**
   * A client whose server has accepted but not answered yet. Closing it would leave its socket open until the server
   * does something, and one more with each attempt: the next attempt goes on with it.
   */
  stillConnecting: Client | undefined;
  readonly #options: FollowAgentOptions;
  readonly #gate: Gate;
  readonly #ending = new AbortController();
  readonly #signal: AbortSignal;
  #allocations: ListAllocationsResponse | undefined;

  constructor(options: FollowAgentOptions, gate: Gate, connecting: Client | undefined) {
    this.#options = options;
    this.#gate = gate;
    this.stillConnecting = connecting;
    this.#signal = AbortSignal.any([options.signal, this.#ending.signal]);
  }

  /** @returns why it ended */
  async run(): Promise<string> {
    const { endpoint, connect, times } = this.#options;
    let client: Client | undefined;
    let leave: (() => void) | undefined;
    let patience: NodeJS.Timeout | undefined;
    try {
      leave = await this.#enter();
      client = this.stillConnecting ?? (await connect(endpoint));
      this.stillConnecting = undefined;
      patience = setTimeout(() => {
        const waited = `nothing came of it within ${times.connectMs / 1000} s`;
        this.#ending.abort(new HoldfastError('DEADLINE', waited));
      }, times.connectMs).unref();
      await this.#follow(client, () => {
        clearTimeout(patience);
        leave?.();
      });
      return 'the agent has ended the stream';
    } catch (error) {
      return describeError(this.#ending.signal.aborted ? this.#ending.signal.reason : error);
    } finally {
      clearTimeout(patience);
      leave?.();
      if (client?.getChannel().getConnectivityState(false) === connectivityState.CONNECTING) {
        this.stillConnecting = client;
      } else if (client !== undefined) closeForGood(client);
    }
  }

  /** @returns gives the place back; a server that says nothing is waited for without it */
  async #enter(): Promise<() => void> {
    const { times, onTried } = this.#options;
    const leaveGate = await this.#gate.enter(this.#signal);
    const leave = (): void => {
      clearTimeout(tooLong);
      leaveGate();
      onTried();
    };
    const tooLong = setTimeout(leave, times.placeMs).unref();
    return leave;
  }

  async #follow(client: Client, onFirst: () => void): Promise<void> {
    const { endpoint, times, onPublished } = this.#options;
    const request = create(WatchTopologyRequestSchema);
    const call = { timeoutMs: times.streamMs * (1 + Math.random()), signal: this.#signal };
    for await (const topology of callServerStream(client, Topology.method.watchTopology, request, call)) {
      if (topology.nodeName !== endpoint.node) {
        const other = topology.nodeName.slice(0, 253);
        throw new HoldfastError('PRECONDITION', `${endpoint.address} answers for node ${other}, not ${endpoint.node}`);
      }
      const allocations = await this.#join(client, topology);
      if (allocations === undefined) continue;
      onPublished({ topology, allocations });
      this.wasGood = true;
      onFirst();
    }
  }

  /** @returns undefined when a newer topology is on its way */
  async #join(client: Client, topology: HostTopology): Promise<ListAllocationsResponse | undefined> {
    const { times } = this.#options;
    let isFresh = false;
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
      switch (planJoin(topology, this.#allocations, isFresh)) {
        case 'joined':
          return this.#allocations;
        case 'wait':
          return undefined;
        case 'behind':
          await delay(times.againMs, undefined, { signal: this.#signal });
          break;
        case 'ask':
          break;
      }
      const call = { timeoutMs: times.callMs, signal: this.#signal };
      const request = create(ListAllocationsRequestSchema);
      this.#allocations = await callUnary(client, Topology.method.listAllocations, request, call);
      isFresh = true;
    }
    throw new HoldfastError('UNAVAILABLE', 'its allocations stay behind its topology');
  }
}
