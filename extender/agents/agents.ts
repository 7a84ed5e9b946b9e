// The agents that are followed: one connection per node, begun and ended as nodes come, go and change their address.
import type { Client } from '@grpc/grpc-js';
import type { AgentEndpoint } from './connect.ts';
import { type AgentTimes, followAgent } from './follow-agent.ts';
import { Gate } from './gate.ts';
import type { Published } from './plan-join.ts';

export interface AgentsOptions {
  readonly connect: (endpoint: AgentEndpoint) => Promise<Client>;
  readonly times: AgentTimes;
  readonly onPublished: (node: string, published: Published) => void;
  readonly onLost: (node: string, problem: string) => void;
  /** The node is no longer followed. */
  readonly onGone: (node: string) => void;
}

/** Connections that are being made at a time. */
const CONNECTING = 64;

interface Followed {
  readonly address: string;
  readonly ending: AbortController;
  readonly ended: Promise<void>;
}

export class Agents {
  readonly #options: AgentsOptions;
  readonly #gate = new Gate(CONNECTING);
  readonly #followed = new Map<string, Followed>();

  constructor(options: AgentsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#followed.size;
  }

  /** Follows these nodes, and no others. */
  follow(endpoints: Iterable<AgentEndpoint>): void {
    const wanted = new Map([...endpoints].map((endpoint) => [endpoint.node, endpoint]));
    for (const [node, { address, ending }] of this.#followed) {
      if (wanted.get(node)?.address === address) continue;
      ending.abort(new Error('the node has gone or has another address'));
      this.#followed.delete(node);
      if (!wanted.has(node)) this.#options.onGone(node);
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
    const ended = followAgent({
      endpoint,
      connect,
      gate: this.#gate,
      times,
      signal: ending.signal,
      onPublished: (published) => {
        if (!ending.signal.aborted) onPublished(node, published);
      },
      onLost: (problem) => {
        if (!ending.signal.aborted) onLost(node, problem);
      },
    });
    this.#followed.set(node, { address, ending, ended });
  }
}
