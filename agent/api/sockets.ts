// The agent's gRPC sockets: agent.sock for the shim and root, topology.sock for everything that only reads, and
// podresources.sock for those who know the kubelet's API of that name. What is on topology.sock is served over TCP too,
// where that is configured, and nothing else ever.
import { join } from 'node:path';
import { Health } from '../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import type { FinishedCall } from './call-adapter.ts';
import { type ImplementedService, implement, serveUnix } from './grpc-server.ts';
import { HealthState, healthHandlers } from './health.ts';
import { reflectionServices } from './reflection.ts';
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
}

/** With health and reflection beside the services, so that grpcurl and probes find their way. */
function withHealth(services: readonly ImplementedService[], health: HealthState): readonly ImplementedService[] {
  const all = [...services, implement(Health, healthHandlers(health))];
  return [...all, ...reflectionServices(all)];
}

/** @throws HoldfastError PRECONDITION when another agent serves in the directory */
export async function openSockets(options: SocketOptions): Promise<AgentSockets> {
  const { directory, agentServices, topologyServices, podResourcesServices, topologyGroupId, tcp, onFinished } =
    options;
  const names = [...agentServices, ...topologyServices, ...podResourcesServices].map(({ typeName }) => typeName);
  const health = new HealthState(names);
  const agent = await serveUnix({
    path: join(directory, 'agent.sock'),
    services: withHealth([...agentServices, ...topologyServices], health),
    onFinished,
  });
  const readOnly = withHealth(topologyServices, health);
  const forGroup = topologyGroupId === undefined ? {} : { groupId: topologyGroupId };
  const topology = await serveUnix({
    path: join(directory, 'topology.sock'),
    services: readOnly,
    onFinished,
    ...forGroup,
  });
  const podResources = await serveUnix({
    path: join(directory, 'podresources.sock'),
    services: withHealth(podResourcesServices, health),
    onFinished,
    ...forGroup,
  });
  await tcp.open(readOnly);
  return {
    setServing: (serving) => health.set(serving),
    close: async (graceMs) => {
      health.set(false);
      await Promise.all([agent, topology, podResources, tcp].map((server) => server.close(graceMs)));
    },
  };
}
