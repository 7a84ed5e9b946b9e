// What clients of the TCP endpoint may take up, through the endpoint itself: each limit is made so small that a test
// reaches it.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { TCP_LIMITS, type TcpLimits } from '../../../agent/api/limits.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { callServerStream, callUnary, connectTcp, isServiceError } from '../../../lib/grpc-client.ts';
import { Health, HealthCheckRequestSchema } from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import { openFreezingRelay } from './support/freezing-relay.ts';
import {
  check,
  connect,
  makeEndpoint,
  PATIENCE_MS,
  refusals,
  request,
  serve,
  untilConnections,
} from './support/tcp-fixture.ts';

t.setTimeout(300_000);

const limited = (limits: Partial<TcpLimits>) => ({ limits: { ...TCP_LIMITS, ...limits } });

/** Without certificates, for this host alone. */
async function servePlain(t: Test, limits: Partial<TcpLimits> = {}) {
  const made = makeEndpoint(t, { address: '127.0.0.1:0' }, limited(limits));
  await made.endpoint.open(made.services);
  const port = made.endpoint.address?.port ?? 0;
  const client = () => {
    const connected = connectTcp(`127.0.0.1:${port}`, undefined);
    t.teardown(() => connected.close());
    return connected;
  };
  return { ...made, port, client };
}

/** A connection that stays open. */
async function hold(t: Test, port: number): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const watch = (client: ReturnType<typeof connectTcp>) =>
  callServerStream(client, Health.method.watch, request, { timeoutMs: PATIENCE_MS });

await t.test('a peer that froze after its handshake is dropped', async (t) => {
  const limits = limited({ pingEveryMs: 300, pingTimeoutMs: 2000 });
  const { endpoint, authority, client, port } = await serve(t, limits);
  const relay = await openFreezingRelay(t, { port, host: '127.0.0.1' });
  const stream = watch(connect(t, relay.port, authority.ca, client));
  t.match(await stream.next(), { value: { status: 1 } });
  await untilConnections(endpoint, 1);
  relay.freeze();
  await untilConnections(endpoint, 0);
  // The teardown of the relay ends it.
  void stream.next().catch(() => {});
});

await t.test('connections over the most are refused, and there is room again when one has ended', async (t) => {
  const { endpoint, metrics, port, client } = await servePlain(t, { mostConnections: 2 });
  const [first] = [await hold(t, port), await hold(t, port)];
  await untilConnections(endpoint, 2);
  await once(await hold(t, port), 'close');
  t.equal(await refusals(metrics, 'limit'), 1);
  first.destroy();
  await untilConnections(endpoint, 1);
  t.match(await check(client()), { status: 1 });
});

await t.test('one address has its share of the connections and leaves the others to others', async (t) => {
  const { endpoint, authority, client, port, metrics } = await serve(t, limited({ mostPerAddress: 2 }));
  const secure = async (localAddress: string): Promise<'served' | 'closed'> => {
    const options = { port, host: '127.0.0.1', localAddress, ca: authority.ca, ...client, ALPNProtocols: ['h2'] };
    const socket = tls.connect(options);
    socket.on('error', () => {});
    socket.resume();
    t.teardown(() => socket.destroy());
    // Only the server's first bytes of HTTP/2 say that it has let the client in.
    return await new Promise((resolve) => {
      socket.once('data', () => resolve('served'));
      socket.once('close', () => resolve('closed'));
    });
  };
  t.strictSame([await secure('127.0.0.1'), await secure('127.0.0.1')], ['served', 'served']);
  t.equal(await secure('127.0.0.1'), 'closed');
  t.equal(await refusals(metrics, 'limit'), 1);
  t.equal(await secure('127.0.0.2'), 'served');
  await untilConnections(endpoint, 3);
});

await t.test('without certificates, where all clients are of this host, there are no shares', async (t) => {
  const { endpoint, port } = await servePlain(t, { mostPerAddress: 1 });
  await hold(t, port);
  await hold(t, port);
  await untilConnections(endpoint, 2);
});

await t.test('a connection ends when it is of age, however busy it is', async (t) => {
  const { endpoint, authority, client, port } = await serve(t, limited({ ageMs: 500, ageGraceMs: 100 }));
  const stream = watch(connect(t, port, authority.ca, client));
  t.match(await stream.next(), { value: { status: 1 } });
  const ended = await stream.next().catch((error: unknown) => error);
  t.ok(isServiceError(ended, status.UNAVAILABLE, status.CANCELLED), String(ended));
  await untilConnections(endpoint, 0);
});

await t.test('a connection without a call is closed after a while', async (t) => {
  const { endpoint, client } = await servePlain(t, { idleMs: 300 });
  t.match(await check(client()), { status: 1 });
  await untilConnections(endpoint, 0);
});

await t.test('a request over the limit is refused with a clear error, and the connection goes on', async (t) => {
  const { client } = await servePlain(t);
  const one = client();
  const large = create(HealthCheckRequestSchema, { service: 'x'.repeat(64 * 1024) });
  const options = { timeoutMs: PATIENCE_MS };
  const error = await callUnary(one, Health.method.check, large, options).catch((caught: unknown) => caught);
  t.ok(isServiceError(error, status.RESOURCE_EXHAUSTED), String(error));
  t.match(String(error), /larger than max \(\d+ vs 65536\)/);
  t.match(await check(one), { status: 1 });
});

await t.test('a connection has so many calls at a time; the next one waits for the end of another', async (t) => {
  const { client } = await servePlain(t, { mostStreams: 2 });
  const one = client();
  const streams = [watch(one), watch(one)] as const;
  for (const stream of streams) t.match(await stream.next(), { value: { status: 1 } });
  const waiting = watch(one);
  let answered = false;
  const answer = waiting.next().then((next) => {
    answered = true;
    return next;
  });
  t.match(await check(client()), { status: 1 }, 'another connection does not wait');
  t.equal(answered, false);
  await streams[0].return();
  t.match(await answer, { value: { status: 1 } });
  for (const stream of [streams[1], waiting]) await stream.return();
});

await t.test('connections that never finish their handshake do not keep others out', async (t) => {
  const { endpoint, authority, port, client, metrics } = await serve(t);
  const idle = Array.from({ length: 100 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
  t.teardown(() => {
    for (const socket of idle) socket.destroy();
  });
  await Promise.all(idle.map((socket) => once(socket, 'connect')));
  await pollUntil('the oldest to be dropped', PATIENCE_MS, async () =>
    (await refusals(metrics, 'limit')) >= 36 ? true : undefined,
  );
  t.match(await check(connect(t, port, authority.ca, client)), { status: 1 });
  for (const socket of idle) socket.destroy();
  await untilConnections(endpoint, 1);
});
