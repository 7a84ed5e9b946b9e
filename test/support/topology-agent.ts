// An agent as schedulers see it: the real topology service over the real planner's books, on TCP, without a host below.
import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { adaptHandler } from '../../agent/api/call-adapter.ts';
import { topologyHandlers } from '../../agent/api/topology-service.ts';
import { createTopologyView, type Placing } from '../../agent/api/topology-view.ts';
import { Ledger } from '../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../agent/cpuset/machine.ts';
import { planPlacement } from '../../agent/cpuset/plan-placement.ts';
import { planPod } from '../../agent/cpuset/plan-pod.ts';
import type { PlanRules } from '../../agent/cpuset/room.ts';
import { allocationView, listAllocations } from '../../agent/cpuset/view.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../agent/model/host-topology.ts';
import { podUid } from '../../agent/model/ids.ts';
import type { PodAsk } from '../../extender/planning/plan-ask.ts';
import { Changes } from '../../lib/changes.ts';
import { serviceDefinition } from '../../lib/grpc.ts';
import { Topology } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { KeyPair } from './test-certificates.ts';

export const PLAN_RULES: PlanRules = { strategy: 'pack', unboundMemory: 'proportional', reservedMemory: 0 };

export interface AgentTlsFiles extends KeyPair {
  /** PEM of the authority that clients' certificates must be from. */
  readonly ca: string;
}

export interface TopologyAgentOptions {
  readonly reserved?: CpuSet;
  readonly rules?: PlanRules;
  readonly at?: { readonly host: string; readonly port: number };
}

/** What hands out CPUs and memory by these books, on a host that stays as it is and runs nothing. */
export function placingOf(ledger: Ledger): Placing {
  return {
    view: () => allocationView(ledger),
    allocations: () => listAllocations(ledger, []),
    runningPods: () => [],
    planPlacement: (request, decidePolicy) => planPlacement(ledger, request, decidePolicy),
    topologyChanged: async () => undefined,
  };
}

export class TopologyAgent {
  readonly nodeName: string;
  readonly ledger: Ledger;
  readonly #changes = new Changes();
  readonly #host: HostTopology;
  #server: Server | undefined;
  #shutdown = new AbortController();
  readonly #address: string;
  #port: number;

  /** @param at - where it listens; port 0 takes a free one */
  constructor(
    nodeName: string,
    host: HostTopology,
    { reserved = CpuSet.EMPTY, rules = PLAN_RULES, at = { host: '127.0.0.1', port: 0 } }: TopologyAgentOptions = {},
  ) {
    this.nodeName = nodeName;
    this.#address = at.host;
    this.#port = at.port;
    this.#host = host;
    this.ledger = new Ledger(buildMachine(host, reserved), rules);
  }

  get address(): string {
    return `${this.#address}:${this.#port}`;
  }

  get version(): bigint {
    return this.#changes.version;
  }

  /** Listens; after a stop on the same port as before. */
  async start(tls?: AgentTlsFiles): Promise<void> {
    const view = createTopologyView({
      nodeName: this.nodeName,
      topology: this.#host,
      placing: placingOf(this.ledger),
      changes: this.#changes,
    });
    this.#shutdown = new AbortController();
    const handlers: Readonly<Record<string, unknown>> = topologyHandlers(view, this.#changes, () => undefined);
    const implementation: UntypedServiceImplementation = {};
    for (const method of Topology.methods) {
      const handler = handlers[method.localName] as Parameters<typeof adaptHandler>[1];
      const hooks = { shutdown: this.#shutdown.signal, onFinished: () => undefined };
      implementation[method.localName] = adaptHandler(method, handler, hooks);
    }
    const server = new Server({ 'grpc.enable_channelz': 0 });
    server.addService(serviceDefinition(Topology), implementation);
    const pair = tls && [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }];
    const made =
      tls === undefined || pair === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(Buffer.from(tls.ca), pair, true);
    this.#port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`${this.#address}:${this.#port}`, made, (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
    this.#server = server;
  }

  /** Ends every connection at once. */
  stop(): void {
    this.#shutdown.abort();
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  /** The pod's sandbox is made here. @returns whether it found a place */
  create({ identity, need }: PodAsk): boolean {
    const plan = planPod(this.ledger.room, identity, need);
    if (plan.ok) this.ledger.set(plan.holding);
    this.#changes.announce();
    return plan.ok;
  }

  remove(uid: string): void {
    this.ledger.delete(podUid(uid));
    this.#changes.announce();
  }
}
