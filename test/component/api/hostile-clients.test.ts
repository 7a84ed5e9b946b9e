// What is no request, and peers that stopped without closing their connection: told or dropped, and the server goes on.
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { gzipSync } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { createGrpcServer, implement } from '../../../agent/api/grpc-server.ts';
import { HealthState, healthHandlers } from '../../../agent/api/health.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { callUnary, connectTcp } from '../../../lib/grpc-client.ts';
import { Health, HealthCheckRequestSchema } from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';

const PATIENCE_MS = 60_000;
const HEADERS = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
const CHECK = '/grpc.health.v1.Health/Check';

async function serve(t: Test, limits = {}) {
  const health = new HealthState([]);
  health.set(true);
  const services = [implement(Health, healthHandlers(health))];
  const server = createGrpcServer({ services, onFinished: () => {}, limits });
  const open = new Set<net.Socket>();
  const listener = net.createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    server.accept(socket);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as net.AddressInfo;
  t.teardown(() => server.close(0, () => new Promise((resolve) => void listener.close(() => resolve()))));
  const goesOn = async (): Promise<unknown> => {
    const client = connectTcp(`127.0.0.1:${port}`, undefined);
    try {
      const request = create(HealthCheckRequestSchema, {});
      return (await callUnary(client, Health.method.check, request, { timeoutMs: PATIENCE_MS })).status;
    } finally {
      client.close();
    }
  };
  return { port, open, goesOn };
}

/** One message of gRPC: not compressed, its length, its bytes. */
function framed(payload: Buffer, length = payload.length, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
}

interface Answer {
  readonly code: number;
  readonly message: string;
}

/** Sends the bytes as a request. @returns the status that came */
async function send(port: number, body: Buffer, headers: http2.OutgoingHttpHeaders = {}): Promise<Answer> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  try {
    const stream = session.request({ ...HEADERS, ':path': CHECK, ...headers });
    let seen: http2.IncomingHttpHeaders = {};
    for (const event of ['response', 'trailers'] as const) {
      stream.on(event, (more: http2.IncomingHttpHeaders) => {
        seen = { ...seen, ...more };
      });
    }
    stream.resume();
    stream.end(body);
    await once(stream, 'close');
    return { code: Number(seen['grpc-status']), message: decodeURIComponent(String(seen['grpc-message'] ?? '')) };
  } finally {
    session.destroy();
  }
}

await t.test('bytes that are no message are told to whoever sent them', async (t) => {
  const { port, goesOn } = await serve(t);
  const noMessage = await send(port, framed(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff])));
  t.equal(noMessage.code, status.INVALID_ARGUMENT, noMessage.message);
  t.match(noMessage.message, /not a message of type grpc\.health\.v1\.HealthCheckRequest/);
  t.equal((await send(port, framed(Buffer.from([0x0a, 2, 0xc3, 0x28])))).code, status.INVALID_ARGUMENT, 'not UTF-8');
  const megabyte = framed(Buffer.concat([Buffer.from([0x0a, 0x80, 0x80, 0x40]), Buffer.alloc(1 << 20, 'x')]));
  t.equal((await send(port, megabyte)).code, status.NOT_FOUND, 'a name of a megabyte is a name');
  t.equal(await goesOn(), 1);
});

await t.test('requests that break the protocol end, and take no others with them', async (t) => {
  const { port, goesOn } = await serve(t, { 'grpc.max_receive_message_length': 1 << 20 });
  const bomb = gzipSync(Buffer.alloc(8 << 20));
  const statuses = {
    'a length of 4 GiB': await send(port, framed(Buffer.alloc(10), 0xffff_ffff)),
    'less than its length': await send(port, framed(Buffer.alloc(10), 100)),
    'no message at all': await send(port, Buffer.alloc(0)),
    'two messages': await send(port, Buffer.concat([framed(Buffer.alloc(0)), framed(Buffer.alloc(0))])),
    'a compression that is not known': await send(port, framed(Buffer.alloc(4), 4, 1), { 'grpc-encoding': 'zstd' }),
    'compressed, but it is not': await send(port, framed(Buffer.alloc(4), 4, 1), { 'grpc-encoding': 'gzip' }),
    'small, but large when it is unpacked': await send(port, framed(bomb, bomb.length, 1), { 'grpc-encoding': 'gzip' }),
    'a method that is not there': await send(port, framed(Buffer.alloc(0)), { ':path': '/no.such/Method' }),
  };
  for (const [what, { code, message }] of Object.entries(statuses)) {
    t.ok(code > 0, `${what}: ${status[code]} ${message}`);
  }
  t.equal(statuses['a length of 4 GiB'].code, status.RESOURCE_EXHAUSTED);
  t.equal(statuses['small, but large when it is unpacked'].code, status.RESOURCE_EXHAUSTED);
  t.equal(statuses['a method that is not there'].code, status.UNIMPLEMENTED);
  t.equal(await goesOn(), 1);
});

await t.test('a peer that froze is dropped, and its stream with it', async (t) => {
  const { port, open, goesOn } = await serve(t, { 'grpc.keepalive_time_ms': 300, 'grpc.keepalive_timeout_ms': 300 });
  const socket = net.connect(port, '127.0.0.1');
  const session = http2.connect('http://localhost', { createConnection: () => socket });
  t.teardown(() => session.destroy());
  const stream = session.request({ ...HEADERS, ':path': '/grpc.health.v1.Health/Watch' });
  for (const peer of [session, stream, socket]) peer.on('error', () => {});
  stream.end(framed(Buffer.alloc(0)));
  await once(stream, 'data');
  t.equal(open.size, 1);
  // As a host that lost its power, or a process that was stopped: nothing is read any more, and nothing closed.
  const handle = (socket as unknown as { readonly _handle: { readStop(): void } })._handle;
  handle.readStop();
  await pollUntil('the server to drop it', PATIENCE_MS, async () => (open.size === 0 ? true : undefined));
  t.equal(await goesOn(), 1);
});
