// Connections that the kernel cannot give the agent: each of its listeners counts them and goes on.
import http from 'node:http';
import net from 'node:net';
import { Registry } from 'prom-client';
import t from 'tap';
import { serveMetrics } from '../../../agent/api/metrics-server.ts';
import { recordUnserved } from '../../../agent/api/refusals.ts';
import { createLogger } from '../../../agent/log.ts';
import { connectTcp } from '../../../lib/grpc-client.ts';
import { check, makeEndpoint, refusals } from './support/tcp-fixture.ts';

const shortage = Object.assign(new Error('accept ENOBUFS'), { code: 'ENOBUFS' });

await t.test('over TCP', async (t) => {
  const { endpoint, services, metrics, logs } = makeEndpoint(t, { address: '127.0.0.1:0' });
  const created = t.capture(net, 'createServer', net.createServer);
  await endpoint.open(services);
  for (const result of created()) if ('returned' in result) result.returned.emit('error', shortage);
  t.equal(await refusals(metrics, 'accept'), 1);
  t.match(logs.join(''), /accept ENOBUFS/);
  const client = connectTcp(`127.0.0.1:${endpoint.address?.port}`, undefined);
  t.teardown(() => client.close());
  t.match(await check(client), { status: 1 });
});

await t.test('of metrics', async (t) => {
  const registry = new Registry();
  const onUnserved = recordUnserved(registry, createLogger('silent'));
  const created = t.capture(http, 'createServer', http.createServer);
  const server = await serveMetrics(registry, { host: '127.0.0.1', port: 0 }, (error) =>
    onUnserved('metrics', 'accept', error.message),
  );
  t.teardown(() => server.close());
  for (const result of created()) if ('returned' in result) result.returned.emit('error', shortage);
  const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  t.match(text, /^holdfast_connections_unserved_total\{listener="metrics",why="accept"\} 1$/m);
});
