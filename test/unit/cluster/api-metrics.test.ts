// What Prometheus reads about the watch on the API server.
import { Registry } from 'prom-client';
import t from 'tap';
import { createApiMetrics } from '../../../agent/cluster/api-metrics.ts';

t.test('age and pods are those of the moment, and every step and event is counted', async (t) => {
  const registry = new Registry();
  const subject = { age: 2500, count: 3 };
  const observer = createApiMetrics(registry, { ageMs: () => subject.age, pods: () => subject.count });
  observer.onStep('list', 'listed');
  observer.onStep('watch', 'failed');
  observer.onStep('watch', 'failed');
  observer.onEvent('BOOKMARK');
  subject.count = 4;
  const text = await registry.metrics();
  t.match(text, /^holdfast_pod_source_api_age_seconds 2\.5$/m);
  t.match(text, /^holdfast_pod_source_api_pods 4$/m);
  t.match(text, /^holdfast_pod_source_api_requests_total\{request="list",end="listed"\} 1$/m);
  t.match(text, /^holdfast_pod_source_api_requests_total\{request="watch",end="failed"\} 2$/m);
  t.match(text, /^holdfast_pod_source_api_events_total\{type="BOOKMARK"\} 1$/m);
});
