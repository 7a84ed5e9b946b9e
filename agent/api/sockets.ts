// The agent's gRPC sockets: agent.sock for the shim and root, topology.sock for everything that only reads, and
// podresources.sock for those who know the kubelet's API of that name. What is on topology.sock is served over TCP too,
// where that is configured, and nothing else ever. Whoever only reads may take up so much and no more.
import { join } from 'node:path';
import { Health } from '../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import type { FinishedCall } from './call-adapter.ts';
import { type ImplementedService, implement, type ServeOptions, serveUnix } from './grpc-server.ts';
import { HealthState, healthHandlers } from './health.ts';
import { grpcLimits, type ReadOnlyLimits, UNIX_LIMITS } from './limits.ts';
import { reflectionServices } from './reflection.ts';
import type { OnUnserved } from './refusals.ts';
import type { TcpEndpoint } from './tcp-endpoint.ts';

export interface AgentSockets {
  /** What grpc.health.v1 answers on all of them. */
  setServing(serving: boolean): void;
  /** Calls that are under way have `graceMs` milliseconds left. */
  close(graceMs: number): Promise<void>;
}

export interface SocketOptions {
  readonly directory: string;
  readonly agentServices: readonly ImplementedService[];
  readonly topologyServices: readonly ImplementedService[];
  readonly podResourcesServices: readonly ImplementedService[];
  /** Members of this group may read the topology and the pods' resources; without it root alone. */
  readonly topologyGroupId: number | undefined;
  readonly tcp: TcpEndpoint;
  readonly onFinished: (call: FinishedCall) => void;
  readonly onUnserved: OnUnserved;
  /** Of each of the sockets that others than root may reach. */
  readonly limits?: ReadOnlyLimits;
}

/** With health and reflection beside the services, so that grpcurl and probes find their way. */
function withHealth(services: readonly ImplementedService[], health: HealthState): readonly ImplementedService[] {
  const all = [...services, implement(Health, healthHandlers(health))];
  return [...all, ...reflectionServices(all)];
}

/** @throws HoldfastError PRECONDITION when another agent serves in the directory */
export async function openSockets(options: SocketOptions): Promise<AgentSockets> {
  const { agentServices, topologyServices, podResourcesServices, topologyGroupId, tcp } = options;
  const names = [...agentServices, ...topologyServices, ...podResourcesServices].map(({ typeName }) => typeName);
  const health = new HealthState(names);
  const common = (name: string, services: readonly ImplementedService[]): ServeOptions => ({
    path: join(options.directory, name),
    services: withHealth(services, health),
    onFinished: options.onFinished,
    onUnserved: (why, detail) => options.onUnserved(name, why, detail),
  });
  const limits = options.limits ?? UNIX_LIMITS;
  const readOnly = {
    limits: grpcLimits(limits),
    mostConnections: limits.mostConnections,
    ...(topologyGroupId === undefined ? {} : { groupId: topologyGroupId }),
  };
  const agent = await serveUnix(common('agent.sock', [...agentServices, ...topologyServices]));
  const topology = await serveUnix({ ...common('topology.sock', topologyServices), ...readOnly });
  const podResources = await serveUnix({ ...common('podresources.sock', podResourcesServices), ...readOnly });
  await tcp.open(withHealth(topologyServices, health));
  return {
    setServing: (serving) => health.set(serving),
    close: async (graceMs) => {
      health.set(false);
      await Promise.all([agent, topology, podResources, tcp].map((server) => server.close(graceMs)));
    },
  };
}
