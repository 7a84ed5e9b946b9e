// /metrics as Prometheus reads it.
import { Counter } from 'prom-client';
import t from 'tap';
import { createRegistry, serveMetrics } from '../../../agent/api/metrics-server.ts';

t.test('metrics of the features and of the process are served', async (t) => {
  const registry = createRegistry();
  const counter = new Counter({ name: 'holdfast_test_total', help: 'h', registers: [registry] });
  counter.inc(3);
  const server = await serveMetrics(registry, { host: '127.0.0.1', port: 0 });
  t.teardown(() => server.close());
  const base = `http://127.0.0.1:${server.port}`;
  const response = await fetch(`${base}/metrics?x=1`);
  t.equal(response.status, 200);
  t.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  t.match(text, /^holdfast_test_total 3$/m);
  t.match(text, /^holdfast_process_cpu_seconds_total /m);
  t.notOk(/^(?!#|holdfast_)\S/m.test(text), 'every name has the prefix');
  t.equal((await fetch(`${base}/`)).status, 404);
  t.equal((await fetch(`${base}/metrics`, { method: 'POST' })).status, 405);
  t.equal((await fetch(`${base}/metrics`, { method: 'HEAD' })).status, 200);
});

t.test('a port that is taken is a clear error', async (t) => {
  const first = await serveMetrics(createRegistry(), { host: '127.0.0.1', port: 0 });
  t.teardown(() => first.close());
  await t.rejects(serveMetrics(createRegistry(), { host: '127.0.0.1', port: first.port }), {
    code: 'PRECONDITION',
    message: /is taken; set metrics\.address/,
  });
  await t.rejects(serveMetrics(createRegistry(), { host: '192.0.2.1', port: 0 }), { code: 'HOST_FAILURE' });
});

t.test('a metric that fails to collect answers 500 and the server goes on', async (t) => {
  const registry = createRegistry();
  let broken = true;
  new Counter({
    name: 'holdfast_broken_total',
    help: 'h',
    registers: [registry],
    collect: () => {
      if (broken) throw new Error('cannot collect');
    },
  });
  const server = await serveMetrics(registry, { host: '127.0.0.1', port: 0 });
  t.teardown(() => server.close());
  t.equal((await fetch(`http://127.0.0.1:${server.port}/metrics`)).status, 500);
  broken = false;
  t.equal((await fetch(`http://127.0.0.1:${server.port}/metrics`)).status, 200);
});
