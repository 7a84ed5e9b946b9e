// The relay carries what nobody has declared, as it is, in both directions.
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import t from 'tap';
import { encodeFrame } from '../../../cri-shim/grpc/frame.ts';
import { LOCAL_CHANNEL_OPTIONS } from '../../../lib/grpc.ts';
import { GRPC_HEADERS, startBench, until, watch } from './support/bench.ts';
import { reply, replyError } from './support/fake-runtime.ts';

const PATH = '/some.other.v7.Service/Method';
const REQUEST = encodeFrame(Buffer.from('request'));

t.test('an unknown service: bytes, metadata and trailers, repeated ones too', async (t) => {
  const bench = await startBench(t);
  const runtime = await bench.startRuntime({
    onCall: ({ stream }) => {
      const headers = { ':status': 200, 'content-type': 'application/grpc+proto', 'x-initial': ['1', '2'] };
      stream.respond(headers, { waitForTrailers: true });
      stream.on('wantTrailers', () =>
        stream.sendTrailers({ 'grpc-status': '0', 'x-bin': ['AAE=', 'AgM='], 'x-last': 'a, b' }),
      );
      stream.end(encodeFrame(Buffer.from('response')));
    },
  });
  const metadata = { 'x-trace': ['a', 'b'], 'token-bin': 'AAECAw==', 'grpc-timeout': '10S', 'user-agent': 'test/1' };
  const seen = await bench.call(PATH, REQUEST, metadata);
  const [call] = runtime.calls;
  t.same(call?.body, REQUEST, 'the request arrived byte for byte');
  const received = call?.headers.join('|') ?? '';
  t.match(received, `:path|${PATH}`);
  t.match(received, 'x-trace|a|x-trace|b|token-bin|AAECAw==|grpc-timeout|10S|user-agent|test/1');
  t.match(received, 'te|trailers');
  t.same(seen.body, encodeFrame(Buffer.from('response')));
  const initial = [':status', '200', 'content-type', 'application/grpc+proto', 'x-initial', '1', 'x-initial', '2'];
  t.same(
    seen.headers?.filter((_, index) => index < initial.length),
    initial,
    'nothing joined, in order',
  );
  t.same(seen.headers?.slice(initial.length)[0], 'date', 'the runtime’s own');
  t.equal(seen.headers?.length, initial.length + 2, 'nothing added');
  t.same(seen.trailers, ['grpc-status', '0', 'x-bin', 'AAE=', 'x-bin', 'AgM=', 'x-last', 'a, b']);
});

t.test('an error with details, trailers-only and after a message', async (t) => {
  const bench = await startBench(t);
  const details = Buffer.from('any details').toString('base64');
  await bench.startRuntime({
    onCall: (call) => {
      if (call.path === '/a.B/Only') {
        const block = { 'grpc-status': '9', 'grpc-message': 'no%20way', 'grpc-status-details-bin': details };
        call.stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...block }, { endStream: true });
      } else {
        reply(call, Buffer.from('half'), { 'grpc-status': '10', 'grpc-status-details-bin': details });
      }
    },
  });
  const only = await bench.call('/a.B/Only', REQUEST);
  t.equal(only.trailers, undefined, 'still one header block');
  t.match(only, { status: 9, message: 'no way' });
  t.match(only.headers?.join('|'), `grpc-status-details-bin|${details}`);
  const late = await bench.call('/a.B/Late', REQUEST);
  t.match(late.trailers?.join('|'), `grpc-status|10|grpc-status-details-bin|${details}`);
});

t.test('long metadata in both directions', async (t) => {
  const bench = await startBench(t);
  const long = 'x'.repeat(60_000);
  await bench.startRuntime({ onCall: (call) => replyError(call, 2, `${call.parsed['x-long']?.length} ${long}`) });
  t.same((await bench.call(PATH, REQUEST, { 'x-long': long })).message, `60000 ${long}`);
});

t.test('16 MiB in both directions, and many at once', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime({ onCall: (call) => reply(call, call.body?.subarray(5) ?? Buffer.alloc(0)) });
  const large = Buffer.alloc(16 * 1024 * 1024, 'holdfast');
  const seen = await bench.call(PATH, encodeFrame(large));
  t.equal(seen.status, 0);
  t.ok(seen.body.equals(encodeFrame(large)), 'it came back whole');
  const medium = encodeFrame(large.subarray(0, 2 * 1024 * 1024));
  const answers = await Promise.all(Array.from({ length: 8 }, () => bench.call(PATH, medium)));
  t.ok(answers.every(({ body }) => body.equals(medium)));
});

t.test('five hundred calls on one connection', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime({ onCall: (call) => reply(call, call.body?.subarray(5) ?? Buffer.alloc(0)) });
  const session = bench.connect();
  const bodies = await Promise.all(
    Array.from({ length: 500 }, async (_, index) => {
      const stream = session.request({ ...GRPC_HEADERS, ':path': PATH });
      const seen = watch(stream);
      stream.end(encodeFrame(Buffer.from(`call ${index}`)));
      return (await seen).body.subarray(5).toString();
    }),
  );
  t.same(
    bodies,
    Array.from({ length: 500 }, (_, index) => `call ${index}`),
  );
});

t.test('a stream of messages stops when its reader does, and goes on with it', async (t) => {
  const bench = await startBench(t);
  const chunk = encodeFrame(Buffer.alloc(64 * 1024 - 5));
  const total = 512;
  let written = 0;
  await bench.startRuntime({
    onCall: ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      const write = (): void => {
        while (written < total) {
          written += 1;
          if (!stream.write(chunk)) {
            stream.once('drain', write);
            return;
          }
        }
        stream.end();
      };
      write();
    },
  });
  const stream = bench.connect().request({ ...GRPC_HEADERS, ':path': PATH });
  stream.end(REQUEST);
  await new Promise((resolve) => stream.once('response', resolve));
  // The reader reads nothing: the writer is done once every buffer on the way is full.
  let before = -1;
  while (before !== written) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.ok(written < total, `the writer stands still after ${written} of ${total} chunks`);
  const seen = await watch(stream);
  t.equal(seen.body.length, total * chunk.length, 'nothing was lost');
  t.equal(seen.status, 0);
});

t.test('messages in both directions of one stream, and an answer before the request has ended', async (t) => {
  const bench = await startBench(t);
  const runtime = await bench.startRuntime({
    onOpen: ({ path, stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': '0' });
        // As gRPC servers do that nobody need send anything more.
        if (path === '/a.B/Resets') setTimeout(() => stream.close(), 20);
      });
      stream.on('data', (data: Buffer) => {
        if (data.includes('stop')) stream.end();
        else stream.write(data);
      });
    },
  });
  for (const path of ['/a.B/Resets', '/a.B/Waits']) {
    const stream = bench.connect().request({ ...GRPC_HEADERS, ':path': path });
    const seen = watch(stream);
    for (const text of ['one', 'two', 'three']) {
      const echoed = new Promise((resolve) => stream.once('data', resolve));
      stream.write(encodeFrame(Buffer.from(text)));
      t.same(await echoed, encodeFrame(Buffer.from(text)), `${text} came back while the request was open`);
    }
    const trailers = new Promise((resolve) => stream.once('trailers', resolve));
    stream.write(encodeFrame(Buffer.from('stop')));
    await trailers;
    if (path === '/a.B/Waits') stream.close(8);
    t.equal((await seen).status, 0, 'the status arrived although the request never ended');
    await until(() => runtime.calls.at(-1)?.closedWith !== undefined, 'the runtime’s stream is closed, too');
  }
});

t.test('a client of grpc-js: deadline and cancellation reach the runtime', async (t) => {
  const bench = await startBench(t);
  const runtime = await bench.startRuntime({ onCall: () => {} });
  const client = new Client(`unix:${bench.shimPath}`, credentials.createInsecure(), LOCAL_CHANNEL_OPTIONS);
  t.teardown(() => client.close());
  const bytes = (value: Buffer): Buffer => value;
  const start = (deadline: number) => {
    let cancel = (): void => {};
    const result = new Promise<ServiceError | null>((resolve) => {
      const call = client.makeUnaryRequest(PATH, bytes, bytes, REQUEST, new Metadata(), { deadline }, resolve);
      cancel = () => call.cancel();
    });
    return { result, cancel: () => cancel() };
  };
  const late = await start(Date.now() + 300).result;
  t.equal(late?.code, status.DEADLINE_EXCEEDED);
  t.match(runtime.calls[0]?.parsed['grpc-timeout'], /^\d+m$/, 'the deadline was passed on');
  await until(() => runtime.calls[0]?.closedWith === 8, 'the runtime saw the cancellation after the deadline');

  const cancelled = start(Date.now() + 60_000);
  await until(() => runtime.calls[1]?.body !== undefined, 'the call has arrived');
  cancelled.cancel();
  t.equal((await cancelled.result)?.code, status.CANCELLED);
  await until(() => runtime.calls[1]?.closedWith === 8, 'the runtime saw the cancellation');
});

t.test('reset codes pass in both directions; an unfinished request is never ended for its sender', async (t) => {
  const bench = await startBench(t);
  let endedEarly = false;
  const runtime = await bench.startRuntime({
    onOpen: ({ path, stream }) => {
      if (path === '/a.B/Reset') stream.close(11);
      stream.resume();
      stream.on('end', () => {
        if (path === PATH && !stream.aborted) endedEarly = true;
      });
    },
  });
  t.equal((await bench.call('/a.B/Reset', REQUEST)).resetWith, 11);
  const abort = new AbortController();
  const unfinished = bench.connect().request({ ...GRPC_HEADERS, ':path': PATH }, { signal: abort.signal });
  const seen = watch(unfinished);
  unfinished.write(REQUEST.subarray(0, 4));
  await until(() => runtime.calls.length === 2, 'the call has arrived');
  abort.abort();
  await seen;
  await until(() => runtime.calls[1]?.closedWith !== undefined, 'the runtime saw the reset');
  t.equal(runtime.calls[1]?.closedWith, 8);
  t.equal(endedEarly, false);

  const finished = bench.connect().request({ ...GRPC_HEADERS, ':path': '/a.B/Finished' });
  finished.on('error', () => {});
  finished.end(REQUEST);
  await until(() => runtime.calls.length === 3, 'the call has arrived');
  finished.close(7);
  await until(() => runtime.calls[2]?.closedWith !== undefined, 'the runtime saw the reset');
  t.equal(runtime.calls[2]?.closedWith, 7, 'with the caller’s own code');
});

t.test('a client that vanishes cancels its calls', async (t) => {
  const bench = await startBench(t);
  const runtime = await bench.startRuntime({ onCall: () => {} });
  const session = bench.connect();
  const stream = session.request({ ...GRPC_HEADERS, ':path': PATH });
  stream.on('error', () => {});
  stream.end(REQUEST);
  await until(() => runtime.calls[0]?.body !== undefined, 'the call has arrived');
  session.destroy();
  await until(() => runtime.calls[0]?.closedWith === 8, 'the runtime saw the cancellation');
  t.pass('cancelled');
});

t.test('the runtime is absent, dies in a call, and comes back', async (t) => {
  const bench = await startBench(t);
  const absent = await bench.call(PATH, REQUEST);
  t.equal(absent.status, status.UNAVAILABLE);
  t.match(absent.message, /holdfast UNAVAILABLE: .*runtime\.sock.*ENOENT/);

  const onCall = (call: Parameters<typeof reply>[0]): void => {
    if (call.path === PATH) reply(call, Buffer.from('here'));
    if (call.path === '/a.B/Begun') {
      call.stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      call.stream.write(encodeFrame(Buffer.from('first')));
    }
  };
  const first = await bench.startRuntime({ onCall });
  t.equal((await bench.call(PATH, REQUEST)).status, 0, 'it works as soon as the runtime is there');
  const waiting = bench.call('/a.B/Hang', REQUEST);
  const begun = bench.connect().request({ ...GRPC_HEADERS, ':path': '/a.B/Begun' });
  const seenBegun = watch(begun);
  begun.end(REQUEST);
  await new Promise((resolve) => begun.once('data', resolve));
  await until(() => first.calls.length === 3, 'both calls are under way');
  await first.kill();
  t.match(await waiting, { status: status.UNAVAILABLE, message: /runtime\.sock/ });
  const interrupted = await seenBegun;
  t.match(interrupted, { status: status.UNAVAILABLE, message: /runtime\.sock/ });
  t.same(interrupted.body, encodeFrame(Buffer.from('first')), 'what had arrived was passed on');

  t.equal((await bench.call(PATH, REQUEST)).status, status.UNAVAILABLE, 'it fails fast meanwhile');
  await bench.startRuntime({ onCall });
  t.equal((await bench.call(PATH, REQUEST)).status, 0, 'the first call after the return works');
});

t.test('answers that are not gRPC pass as well', async (t) => {
  const bench = await startBench(t);
  await bench.startRuntime({
    onCall: (call) => {
      if (call.path === '/a.B/Error') replyError(call, 12, 'unknown');
      else {
        call.stream.respond({ ':status': 415, 'content-type': 'text/plain' });
        call.stream.end('not gRPC');
      }
    },
  });
  const seen = await bench.call('/x', Buffer.from('hello'), { 'content-type': 'text/plain' });
  t.same([seen.headers?.[1], seen.body.toString(), seen.resetWith], ['415', 'not gRPC', 0]);
  t.equal((await bench.call('/a.B/Error', REQUEST)).status, 12);
});
