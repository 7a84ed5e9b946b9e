// The metrics of the extender, all with the prefix holdfast_extender_.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { FollowObserver } from '../agent/cluster/follow-objects.ts';
import type { NodeView } from './scheduling/fleet.ts';

export interface MetricsSubject {
  nodes(): Readonly<Record<NodeView['kind'], number>>;
  inFlight(): number;
}

export interface ExtenderMetrics {
  readonly requests: Counter<'code'>;
  readonly duration: Histogram<'path'>;
  readonly waits: Counter;
  readonly lost: Counter;
  readonly api: FollowObserver;
}

export function createExtenderMetrics(registry: Registry, subject: MetricsSubject): ExtenderMetrics {
  const registers = [registry];
  const nodes: Gauge<'agent'> = new Gauge({
    name: 'holdfast_extender_nodes',
    help: 'Nodes by what is known of their agent: known, lost for too long, or never reached.',
    labelNames: ['agent'],
    registers,
    collect: () => {
      for (const [agent, count] of Object.entries(subject.nodes())) nodes.set({ agent }, count);
    },
  });
  const inFlight: Gauge = new Gauge({
    name: 'holdfast_extender_pods_in_flight',
    help: 'Pods that the scheduler was answered and that are not seen bound yet.',
    registers,
    collect: () => inFlight.set(subject.inFlight()),
  });
  const steps = new Counter({
    name: 'holdfast_extender_api_requests_total',
    help: 'Lists and watches at the API server that ended, by how.',
    labelNames: ['request', 'end'],
    registers,
  });
  return {
    requests: new Counter({
      name: 'holdfast_extender_requests_total',
      help: 'HTTP requests by the code of the answer.',
      labelNames: ['code'],
      registers,
    }),
    duration: new Histogram({
      name: 'holdfast_extender_request_seconds',
      help: 'From the head of a request to its answer, waits for pods in flight included.',
      labelNames: ['path'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    waits: new Counter({
      name: 'holdfast_extender_waits_total',
      help: 'Answers that had to wait because only pods in flight stood against them.',
      registers,
    }),
    lost: new Counter({
      name: 'holdfast_extender_agent_connections_lost_total',
      help: 'Connections to agents that ended or could not be made.',
      registers,
    }),
    api: { onStep: (request, end) => steps.inc({ request, end }), onEvent: () => undefined },
  };
}
