// The metrics of the watch on the API server, all with the prefix holdfast_pod_source_api_.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { FollowObserver } from './follow-objects.ts';

export interface ApiMetricsSubject {
  ageMs(): number;
  pods(): number;
}

export function createApiMetrics(registry: Registry, subject: ApiMetricsSubject): FollowObserver {
  const registers = [registry];
  const age: Gauge = new Gauge({
    name: 'holdfast_pod_source_api_age_seconds',
    help: 'Since the API server last gave a sign of life.',
    registers,
    collect: () => age.set(subject.ageMs() / 1000),
  });
  const pods: Gauge = new Gauge({
    name: 'holdfast_pod_source_api_pods',
    help: 'Pods of this node as the API server names them.',
    registers,
    collect: () => pods.set(subject.pods()),
  });
  const steps = new Counter({
    name: 'holdfast_pod_source_api_requests_total',
    help: 'Lists and watches that ended, by how.',
    labelNames: ['request', 'end'],
    registers,
  });
  const events = new Counter({
    name: 'holdfast_pod_source_api_events_total',
    help: 'Watch events, bookmarks among them.',
    labelNames: ['type'],
    registers,
  });
  return {
    onStep: (request, end) => steps.inc({ request, end }),
    onEvent: (type) => events.inc({ type }),
  };
}
