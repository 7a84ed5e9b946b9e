// Whatever a client sends, it gets an error at most, and the next client is served.
import { connect as connectSocket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import t from 'tap';
import { encodeFrame } from '../../../cri-shim/grpc/frame.ts';
import { RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { type Bench, GRPC_HEADERS, startBench, until, watch } from './support/bench.ts';
import { callCri, criRuntime, frameOf, STEPS } from './support/cri.ts';
import { reply } from './support/fake-runtime.ts';
import { FLAG, FRAME, type HeaderList, PREFACE, rawFrame, rawHeaders } from './support/raw-http2.ts';

const CREATE_PATH = '/runtime.v1.RuntimeService/CreateContainer';

async function isServed(bench: Bench): Promise<boolean> {
  return (
    (await callCri(bench, 'version', {})).status === 0 && (await callCri(bench, 'startContainer', {})).status === 0
  );
}

/** Sends bytes to the socket as they are and waits for the end of the connection, or of half a second. */
function sendRaw(bench: Bench, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectSocket(bench.shimPath);
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
    socket.setTimeout(200, () => socket.destroy());
    socket.write(bytes);
  });
}

t.test('malformed messages on every intercepted call are invalid arguments', async (t) => {
  const bench = await startBench(t);
  const { calls } = await bench.startRuntime(criRuntime({}).behaviour);
  await bench.startAgent();
  for (const { name } of STEPS) {
    const path = `/runtime.v1.RuntimeService/${RuntimeService.method[name].name}`;
    for (const [what, frame] of [
      ['a field that ends too early', encodeFrame(Buffer.from([0x0a, 0x7f, 0x01]))],
      ['a wire type that does not exist', encodeFrame(Buffer.from([0x0f, 0x00]))],
      ['text that is not UTF-8', encodeFrame(Buffer.from([0x0a, 0x02, 0xff, 0xfe]))],
      ['no message', Buffer.alloc(0)],
      ['a message cut short', Buffer.from([0, 0, 0, 0, 9, 1])],
      ['two messages', Buffer.concat([encodeFrame(Buffer.alloc(0)), encodeFrame(Buffer.alloc(0))])],
      ['flags that do not exist', Buffer.from([9, 0, 0, 0, 0])],
    ] as const) {
      const seen = await bench.call(path, frame);
      t.match(seen, { status: status.INVALID_ARGUMENT, message: /^holdfast INVALID_REQUEST: / }, `${name}: ${what}`);
    }
  }
  t.equal(calls.length, 0, 'none of it reached the runtime');
  t.ok(await isServed(bench));
});

t.test('arbitrary bytes on an intercepted call', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime(criRuntime({}).behaviour);
  await bench.startAgent();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
      const framed = await bench.call(CREATE_PATH, encodeFrame(bytes));
      const bare = await bench.call(CREATE_PATH, bytes);
      return framed.status !== undefined && bare.status !== undefined;
    }),
    { numRuns: 50 },
  );
  t.ok(await isServed(bench));
});

t.test('messages over 16 MiB are refused when they are announced', async (t) => {
  const bench = await startBench(t);
  const { calls } = await bench.startRuntime(criRuntime({}).behaviour);
  await bench.startAgent();
  const seen = await bench.call(CREATE_PATH, Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
  t.match(seen, { status: status.RESOURCE_EXHAUSTED, message: /limit of CRI is 16777216 bytes/ });
  t.equal(calls.length, 0);
});

t.test('compressed requests: gzip is read, what is no gzip is refused, and so are other encodings', async (t) => {
  const bench = await startBench(t);
  const { calls } = await bench.startRuntime({ onCall: (call) => reply(call, Buffer.alloc(0)) });
  const agent = await bench.startAgent();
  const plain = frameOf('stopContainer', { containerId: 'c', timeout: 3n }).subarray(5);
  const compressed = encodeFrame(gzipSync(plain));
  compressed[0] = 1;
  const path = '/runtime.v1.RuntimeService/StopContainer';
  await bench.call(path, compressed, { 'grpc-encoding': 'gzip' });
  t.match(agent.questions[0]?.request, { containerId: 'c', timeoutSeconds: 3n });
  t.same(calls[0]?.body, compressed, 'what is not changed goes on as it came');
  t.equal((await bench.call(path, compressed, { 'grpc-encoding': 'zstd' })).status, status.UNIMPLEMENTED);
  const bomb = encodeFrame(gzipSync(Buffer.alloc(20 * 1024 * 1024)));
  bomb[0] = 1;
  t.equal((await bench.call(path, bomb, { 'grpc-encoding': 'gzip' })).status, status.INVALID_ARGUMENT);
  plain.copy(compressed, 5);
  t.equal((await bench.call(path, compressed, { 'grpc-encoding': 'gzip' })).status, status.INVALID_ARGUMENT);
});

t.test('requests that are not gRPC', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime(criRuntime({}).behaviour);
  await bench.startAgent();
  const get = await bench.call('/', Buffer.alloc(0), { ':method': 'GET' });
  t.same(get.headers?.slice(0, 2), [':status', '405']);
  const json = await bench.call(CREATE_PATH, Buffer.from('{}'), { 'content-type': 'application/json' });
  t.same(json.headers?.slice(0, 2), [':status', '415']);
  t.ok(await isServed(bench));
});

t.test('other protocols and broken HTTP/2 on the socket', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime(criRuntime({}).behaviour);
  await bench.startAgent();
  await sendRaw(bench, Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  await sendRaw(bench, Buffer.from('GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n'));
  await sendRaw(bench, Buffer.alloc(64 * 1024, 0xff));
  await sendRaw(bench, PREFACE);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await sendRaw(bench, Buffer.concat([PREFACE, bytes]));
    }),
    { numRuns: 15 },
  );
  t.ok(await isServed(bench));
});

/** A request with headers that no client library sends. */
function rawRequest(headers: HeaderList): Buffer {
  return Buffer.concat([
    PREFACE,
    rawFrame(FRAME.SETTINGS, 0, 0),
    rawHeaders(headers, FLAG.END_HEADERS),
    rawFrame(FRAME.DATA, FLAG.END_STREAM, 1, encodeFrame(Buffer.from([1]))),
  ]);
}

t.test('headers that no library sends cost at most their own call', async (t) => {
  const bench = await startBench(t);
  const { calls } = await bench.startRuntime(criRuntime({ listContainers: () => {} }).behaviour);
  await bench.startAgent();
  // The connection to the runtime is shared: this call must outlast all of the others.
  const neighbour = bench.connect().request({ ...GRPC_HEADERS, ':path': '/runtime.v1.RuntimeService/ListContainers' });
  const seen = watch(neighbour);
  neighbour.end(frameOf('listContainers', {}));
  await until(() => calls.length === 1, 'the neighbour has arrived');
  const normal = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', '/a.B/C'],
    [':authority', 'localhost'],
    ['content-type', 'application/grpc'],
  ] as const;
  for (const odd of [
    ['http2-settings', 'AAMAAABk'],
    ['connection', 'close'],
    ['te', 'gzip'],
    ['content-type', 'text/plain'],
    ['user-agent', ''],
    ['X-Upper', '1'],
    ['x-\u00e9', '1'],
    ['x y', '1'],
    ['x', 'a\u0000b'],
    ['x', 'a\r\nb: c'],
    [':path', '/d.E/F'],
    [':odd', '1'],
    ['content-length', '99'],
    ['__proto__', '1'],
  ] as const) {
    await sendRaw(bench, rawRequest([...normal, odd]));
    await sendRaw(bench, rawRequest([...normal.map(([n, v]) => [n, n === ':path' ? CREATE_PATH : v] as const), odd]));
  }
  await sendRaw(
    bench,
    rawRequest([
      [':method', 'CONNECT'],
      [':authority', 'x'],
    ]),
  );
  t.ok(calls.length > 1, 'some of them are harmless and were relayed');
  t.equal(calls[0]?.closedWith, undefined, 'the neighbour is still there');
  neighbour.close(8);
  await seen;
  t.ok(await isServed(bench));
});

t.test('connections that Node has given up without a word are closed, silent ones are kept', async (t) => {
  const bench = await startBench(t, { idleMs: 50, answerMs: 500 });
  const { calls } = await bench.startRuntime(criRuntime({ listContainers: () => {} }).behaviour);
  const count = (): Promise<number> =>
    new Promise((resolve) => bench.shim.server.getConnections((_error, connections) => resolve(connections)));
  const settings = rawFrame(FRAME.SETTINGS, 0, 0);
  for (const broken of [
    rawFrame(FRAME.SETTINGS, 0, 0, Buffer.alloc(3)),
    rawFrame(FRAME.DATA, 0, 0, Buffer.alloc(3)),
    rawFrame(FRAME.HEADERS, FLAG.END_HEADERS, 1, Buffer.alloc(3, 0xff)),
    Buffer.alloc(1000, 0xff),
  ]) {
    await sendRaw(bench, Buffer.concat([PREFACE, settings, broken]));
  }
  const session = bench.connect();
  const stream = session.request({ ...GRPC_HEADERS, ':path': '/runtime.v1.RuntimeService/ListContainers' });
  stream.on('error', () => {});
  stream.end(frameOf('listContainers', {}));
  let open = -1;
  const watching = setInterval(() => {
    void count().then((connections) => {
      open = connections;
    });
  }, 20);
  t.teardown(() => clearInterval(watching));
  await until(() => open === 1, 'only the silent client is left');
  await new Promise((resolve) => setTimeout(resolve, 600));
  t.equal(calls[0]?.closedWith, undefined, 'its call goes on: it has answered');
  stream.close(8);
});

t.test('a thousand calls that are cancelled at once', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime(criRuntime({ listContainers: () => {} }).behaviour);
  await bench.startAgent();
  const session = bench.connect();
  const paths = ['/runtime.v1.RuntimeService/ListContainers', CREATE_PATH];
  await Promise.all(
    Array.from({ length: 1000 }, async (_, index) => {
      const stream = session.request({ ...GRPC_HEADERS, ':path': paths[index % 2] ?? '' });
      const seen = watch(stream);
      stream.write(encodeFrame(Buffer.alloc(0)));
      stream.close(8);
      await seen;
    }),
  );
  t.ok(await isServed(bench));
});

t.test('a client that vanishes in every phase of a call', async (t) => {
  const bench = await startBench(t);
  const runtime = criRuntime({ createContainer: () => {} });
  await bench.startRuntime(runtime.behaviour);
  const agent = await bench.startAgent();
  agent.reactions.set('containerStopping', { kind: 'hang' });
  for (const [path, frame, wait] of [
    [CREATE_PATH, Buffer.from([0, 0]), () => true],
    [CREATE_PATH, frameOf('createContainer', {}), () => runtime.requests('CreateContainer').length === 1],
    ['/runtime.v1.RuntimeService/StopContainer', frameOf('stopContainer', {}), () => agent.questions.length === 2],
  ] as const) {
    const session = bench.connect();
    const stream = session.request({ ...GRPC_HEADERS, ':path': path });
    stream.on('error', () => {});
    stream.write(frame);
    if (frame.length > 2) stream.end();
    await until(wait, 'the phase is reached');
    session.destroy();
  }
  await until(() => agent.questions[1]?.cancelled === true, 'the question is withdrawn');
  t.ok(await isServed(bench));
});
