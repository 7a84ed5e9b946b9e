// The agents that are followed: one connection per node, begun and ended as nodes come, go and change their address.
import type { Client } from '@grpc/grpc-js';
import type { AgentEndpoint } from './connect.ts';
import { type AgentTimes, followAgent } from './follow-agent.ts';
import { Gate, type Gates } from './gate.ts';
import type { Published } from './plan-join.ts';

export interface AgentsOptions {
  readonly connect: (endpoint: AgentEndpoint) => Promise<Client>;
  readonly times: AgentTimes;
  readonly atATime?: ConnectingAtATime;
  readonly onPublished: (node: string, published: Published) => void;
  readonly onLost: (node: string, problem: string) => void;
  /** The node is no longer followed. */
  readonly onGone: (node: string) => void;
}

/** Connections that are being made at a time. */
export interface ConnectingAtATime {
  readonly prompt: number;
  readonly doubtful: number;
}

const AT_A_TIME: ConnectingAtATime = { prompt: 64, doubtful: 16 };

interface Followed {
  readonly address: string;
  readonly ending: AbortController;
  readonly ended: Promise<void>;
}

export class Agents {
  readonly #options: AgentsOptions;
  readonly #gates: Gates;
  readonly #followed = new Map<string, Followed>();
  readonly #untried = new Set<string>();

  constructor(options: AgentsOptions) {
    this.#options = options;
    const { prompt, doubtful } = options.atATime ?? AT_A_TIME;
    this.#gates = { prompt: new Gate(prompt), doubtful: new Gate(doubtful) };
  }

  get size(): number {
    return this.#followed.size;
  }

  /** Agents whose first turn to be connected to has not passed. */
  get untried(): number {
    return this.#untried.size;
  }

  /** Follows these nodes, and no others. */
  follow(endpoints: Iterable<AgentEndpoint>): void {
    const wanted = new Map([...endpoints].map((endpoint) => [endpoint.node, endpoint]));
    for (const [node, { address, ending }] of this.#followed) {
      if (wanted.get(node)?.address === address) continue;
      ending.abort(new Error('the node has gone or has another address'));
      this.#followed.delete(node);
      this.#untried.delete(node);
      // The former address says nothing any more: from now on its last word ages, whatever becomes of the new one.
      if (wanted.has(node)) this.#options.onLost(node, 'its address has changed');
      else this.#options.onGone(node);
    }
    for (const endpoint of wanted.values()) if (!this.#followed.has(endpoint.node)) this.#begin(endpoint);
  }

  async close(): Promise<void> {
    const ended = [...this.#followed.values()].map((each) => each.ended);
    for (const { ending } of this.#followed.values()) ending.abort(new Error('the extender stops'));
    this.#followed.clear();
    await Promise.all(ended);
  }

  #begin(endpoint: AgentEndpoint): void {
    const { connect, times, onPublished, onLost } = this.#options;
    const { node, address } = endpoint;
    const ending = new AbortController();
    this.#untried.add(node);
    const ended = followAgent({
      endpoint,
      connect,
      gates: this.#gates,
      times,
      signal: ending.signal,
      onPublished: (published) => {
        if (!ending.signal.aborted) onPublished(node, published);
      },
      onTried: () => {
        if (!ending.signal.aborted) this.#untried.delete(node);
      },
      onLost: (problem) => {
        if (!ending.signal.aborted) onLost(node, problem);
      },
    });
    this.#followed.set(node, { address, ending, ended });
  }
}
