// The agent's sockets as a whole: what clients that only read may take up, and that the shim's own has no such limits.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { type Client, status } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import t, { type Test } from 'tap';
import { type ReadOnlyLimits, UNIX_LIMITS } from '../../../agent/api/limits.ts';
import { recordUnserved } from '../../../agent/api/refusals.ts';
import { openSockets } from '../../../agent/api/sockets.ts';
import { createLogger } from '../../../agent/log.ts';
import { callServerStream, callUnary, connectTcp, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import { Health, HealthCheckRequestSchema } from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import { openFreezingRelay } from './support/freezing-relay.ts';
import { check, makeEndpoint, PATIENCE_MS, request } from './support/tcp-fixture.ts';

t.setTimeout(300_000);

const READ_ONLY = ['topology.sock', 'podresources.sock'] as const;

async function serve(t: Test, limits?: Partial<ReadOnlyLimits>) {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-sockets-'));
  const { endpoint } = makeEndpoint(t, { address: '127.0.0.1:0' });
  const metrics = new Registry();
  const logs: string[] = [];
  const sockets = await openSockets({
    directory,
    agentServices: [],
    topologyServices: [],
    podResourcesServices: [],
    topologyGroupId: undefined,
    tcp: endpoint,
    onFinished: () => {},
    onUnserved: recordUnserved(metrics, createLogger('info', { write: (line) => void logs.push(line) })),
    ...(limits === undefined ? {} : { limits: { ...UNIX_LIMITS, ...limits } }),
  });
  sockets.setServing(true);
  t.teardown(async () => {
    await sockets.close(0);
    await rm(directory, { recursive: true });
  });
  const client = (name: string): Client => {
    const made =
      name === 'TCP'
        ? connectTcp(`127.0.0.1:${endpoint.address?.port}`, undefined)
        : connectUnix(join(directory, name));
    t.teardown(() => made.close());
    return made;
  };
  const connect = async (name: string): Promise<net.Socket> => {
    const socket = net.connect(join(directory, name));
    socket.on('error', () => {});
    socket.resume();
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  const unserved = async (): Promise<readonly unknown[]> =>
    (await metrics.getSingleMetric('holdfast_connections_unserved_total')?.get())?.values ?? [];
  return { directory, client, connect, unserved, logs };
}

/** Asks as soon as there is a connection. */
async function checkWhenReady(client: Client) {
  await new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + PATIENCE_MS, (error) => (error ? reject(error) : resolve()));
  });
  return await check(client);
}

await t.test('a large request is refused wherever others than root may ask, and the next one is served', async (t) => {
  const { client } = await serve(t);
  const large = create(HealthCheckRequestSchema, { service: 'x'.repeat(64 * 1024) });
  for (const name of [...READ_ONLY, 'TCP', 'agent.sock']) {
    const one = client(name);
    const options = { timeoutMs: PATIENCE_MS };
    const error = await callUnary(one, Health.method.check, large, options).catch((caught: unknown) => caught);
    const expected = name === 'agent.sock' ? status.NOT_FOUND : status.RESOURCE_EXHAUSTED;
    t.ok(isServiceError(error, expected), `${name}: ${String(error).slice(0, 100)}`);
    t.match(await check(one), { status: 1 }, name);
  }
});

await t.test(
  'connections over the most are closed, counted and logged, and the shim has all that it wants',
  async (t) => {
    const { client, connect, unserved, logs } = await serve(t, { mostConnections: 3 });
    for (const name of READ_ONLY) {
      const held = [await connect(name), await connect(name), await connect(name)] as const;
      const over = [await connect(name), await connect(name)];
      await Promise.all(over.map(async (socket) => socket.closed || (await once(socket, 'close'))));
      t.equal(held.filter((socket) => socket.closed).length, 0);
      held[0].destroy();
      t.match(await checkWhenReady(client(name)), { status: 1 }, `${name} has room again`);
    }
    t.match(await unserved(), [
      { labels: { listener: 'topology.sock', why: 'limit' }, value: 2 },
      { labels: { listener: 'podresources.sock', why: 'limit' }, value: 2 },
    ]);
    t.equal(logs.length, 2, 'once a minute and socket');
    t.match(logs.join(''), /topology\.sock: a connection was not served/);

    const shims = [];
    for (let index = 0; index < 10; index += 1) shims.push(await connect('agent.sock'));
    t.match(await check(client('agent.sock')), { status: 1 });
    t.equal(shims.filter((socket) => socket.closed).length, 0);
  },
);

await t.test('a client that was stopped is dropped, and its place is free', async (t) => {
  const { directory, client, connect } = await serve(t, { mostConnections: 1, pingEveryMs: 300, pingTimeoutMs: 2000 });
  const relay = await openFreezingRelay(t, { path: join(directory, 'topology.sock') });
  const stopped = connectTcp(`127.0.0.1:${relay.port}`, undefined);
  t.teardown(() => stopped.close());
  const stream = callServerStream(stopped, Health.method.watch, request, { timeoutMs: PATIENCE_MS });
  t.match(await stream.next(), { value: { status: 1 } });
  await once(await connect('topology.sock'), 'close');
  relay.freeze();
  // A client of gRPC goes on trying to connect.
  t.match(await checkWhenReady(client('topology.sock')), { status: 1 });
  void stream.next().catch(() => {});
});

await t.test('a connection has so many calls at a time, but to the shim', async (t) => {
  const { client } = await serve(t, { mostStreams: 2 });
  const watch = (one: Client) => callServerStream(one, Health.method.watch, request, { timeoutMs: PATIENCE_MS });
  for (const name of [...READ_ONLY, 'agent.sock']) {
    const one = client(name);
    const streams = [watch(one), watch(one)] as const;
    for (const stream of streams) await stream.next();
    const third = watch(one);
    let answered = false;
    const answer = third.next().then((next) => {
      answered = true;
      return next;
    });
    if (name === 'agent.sock') await answer;
    t.match(await check(client(name)), { status: 1 });
    t.equal(answered, name === 'agent.sock', name);
    await streams[0].return();
    t.match(await answer, { value: { status: 1 } });
    for (const stream of [streams[1], third]) await stream.return();
  }
});
