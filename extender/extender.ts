// The extender's parts, built and joined: agents and cluster on the one side, the scheduler's questions on the other.
import type { Logger } from 'pino';
import { createRegistry } from '../agent/api/metrics-server.ts';
import type { ApiTimes } from '../agent/cluster/follow-objects.ts';
import { rateLimitedWarnings } from '../agent/log.ts';
import { describeError, HoldfastError } from '../lib/errors.ts';
import { Agents } from './agents/agents.ts';
import { AgentConnector, type AgentEndpoint } from './agents/connect.ts';
import { AGENT_TIMES, type AgentTimes } from './agents/follow-agent.ts';
import type { ExtenderConfig } from './config/schema.ts';
import { type Discovery, discover } from './discovery/discover.ts';
import { createHandler, HEALTH_PATHS } from './http/handler.ts';
import { type HttpServer, type ServeHttpOptions, serveHttp } from './http/server.ts';
import { createExtenderMetrics } from './metrics.ts';
import { Machines } from './planning/machines.ts';
import { planHost } from './planning/plan-host.ts';
import { Fleet } from './scheduling/fleet.ts';
import { InFlight } from './scheduling/in-flight.ts';
import { Readiness } from './scheduling/readiness.ts';
import { Scheduling } from './scheduling/scheduling.ts';

export interface ExtenderOptions {
  readonly config: ExtenderConfig;
  readonly logger: Logger;
  /** For tests: waits that are shorter than those of production. */
  readonly agentTimes?: AgentTimes;
  readonly apiTimes?: ApiTimes;
}

export interface Extender {
  readonly port: number;
  /** Of listen.health; undefined: off. */
  readonly healthPort: number | undefined;
  readonly fleet: Fleet;
  readonly inFlight: InFlight;
  readonly scheduling: Scheduling;
  close(): Promise<void>;
}

/** One agent's repeated failures are one line per interval. */
const WARN_INTERVAL_MS = 60_000;

function addressOf({ listen }: ExtenderConfig): { readonly host: string; readonly port: number } {
  if (listen.address !== 'off') return listen.address;
  throw new HoldfastError('INVALID_CONFIG', 'listen.address is "off"; an extender has to be asked somewhere');
}

/** Health and readiness in plain HTTP: a kubelet has no certificate that it could show. */
async function serveHealth(
  { listen: { health } }: ExtenderConfig,
  handle: ServeHttpOptions['handle'],
  beside: HttpServer,
): Promise<HttpServer | undefined> {
  if (health === 'off') return undefined;
  try {
    return await serveHttp({ address: health, tls: undefined, handle, onProblem: () => undefined });
  } catch (error) {
    await beside.close();
    throw error;
  }
}

/** @throws HoldfastError when the address or its certificates cannot be used */
export async function startExtender(options: ExtenderOptions): Promise<Extender> {
  const { config, logger, agentTimes = AGENT_TIMES, apiTimes } = options;
  const { agents: agentConfig, policy, kubernetes } = config;
  const fleet = new Fleet(agentConfig.maxAge);
  const inFlight = new InFlight(config.inFlight.ttl);
  const registry = createRegistry();
  const metrics = createExtenderMetrics(registry, { nodes: () => fleet.count(), inFlight: () => inFlight.size });
  const scheduling = new Scheduling({
    fleet,
    inFlight,
    policy: { ...policy, turnedOff: [], namespaces: new Map(Object.entries(policy.namespaces)) },
    withoutAgent: { lost: agentConfig.onLost, unknown: agentConfig.onUnknown },
    most: config.inFlight.nodes,
    missing: () => readiness.missing(),
    waitMs: config.inFlight.wait,
    onWait: () => metrics.waits.inc(),
  });
  const warn = rateLimitedWarnings(logger, WARN_INTERVAL_MS);
  const machines = new Machines();
  const connector = new AgentConnector(agentConfig.tls);
  const agents = new Agents({
    connect: (endpoint) => connector.connect(endpoint),
    times: agentTimes,
    onPublished: (node, { topology, allocations }) => {
      fleet.publish(node, planHost(topology, allocations, machines, config.numa));
    },
    onLost: (node, problem) => {
      metrics.lost.inc();
      fleet.lose(node, problem);
      warn(node, { node, problem }, 'the agent of a node is not reached; trying again');
    },
    onGone: (node) => fleet.forget(node),
  });
  const readiness = new Readiness({
    isListed: () => kubernetes === undefined || discovery?.isComplete() === true,
    untried: () => agents.untried,
  });
  const follow = (discovered: readonly AgentEndpoint[]): void => {
    // A static entry is the operator's word about that node.
    const byNode = new Map([...discovered, ...agentConfig.endpoints].map((endpoint) => [endpoint.node, endpoint]));
    agents.follow(byNode.values());
  };
  const closing = new AbortController();
  let discovery: Discovery | undefined;
  const asked = { scheduling, notReady: () => readiness.missing(), metrics, registry, logger };
  const onProblem = (problem: string): void =>
    warn('listen.tls', { problem }, 'the certificates cannot be read again; the former serve');
  const server = await serveHttp({
    address: addressOf(config),
    tls: config.listen.tls,
    handle: createHandler(asked),
    onProblem,
  });
  const health = await serveHealth(config, createHandler({ ...asked, paths: HEALTH_PATHS }), server);
  follow([]);
  if (kubernetes !== undefined) {
    discovery = discover({
      kubeconfig: kubernetes.kubeconfig,
      nodeSelector: kubernetes.nodeSelector,
      port: agentConfig.port,
      onEndpoints: follow,
      pods: { onItem: (pod) => scheduling.onPod(pod), onGone: (key) => scheduling.onPodGone(key) },
      observer: metrics.api,
      logger,
      signal: closing.signal,
      ...(apiTimes && { times: apiTimes }),
    });
    discovery.ended.catch((error: unknown) => {
      logger.error({ error: describeError(error) }, 'the cluster is no longer followed');
    });
  }
  return {
    port: server.port,
    healthPort: health?.port,
    fleet,
    inFlight,
    scheduling,
    close: async () => {
      closing.abort(new Error('the extender stops'));
      await Promise.all([server.close(), health?.close(), agents.close(), discovery?.ended]);
    },
  };
}
