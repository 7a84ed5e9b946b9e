// Whatever a runtime answers, the caller gets an end, and the shim is there for the next call.
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { encodeFrame } from '../../../cri-shim/grpc/frame.ts';
import { type Bench, GRPC_HEADERS, type SeenCall, startBench, watch } from './support/bench.ts';
import { frameOf } from './support/cri.ts';
import { reply } from './support/fake-runtime.ts';
import { FLAG, FRAME, rawFrame, rawHeaders } from './support/raw-http2.ts';

const { END_HEADERS, END_STREAM } = FLAG;
const OK = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
] as const;
const MESSAGE = rawFrame(FRAME.DATA, 0, 1, encodeFrame(Buffer.from([])));
const TRAILERS = rawHeaders([['grpc-status', '0']], END_HEADERS | END_STREAM);

const ANSWERS: readonly (readonly [string, Buffer | 'close'])[] = [
  ['the end of the connection', 'close'],
  ['bytes that are no HTTP/2', Buffer.alloc(1000, 0xff)],
  ['status 101', rawHeaders([[':status', '101']], END_HEADERS)],
  [
    'status 100 and nothing more, then a reset',
    Buffer.concat([
      rawHeaders([[':status', '100']], END_HEADERS),
      rawFrame(FRAME.RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 2])),
    ]),
  ],
  ['status 204 with a body', Buffer.concat([rawHeaders([[':status', '204']], END_HEADERS), MESSAGE, TRAILERS])],
  ['a status that is no number', rawHeaders([[':status', 'abc']], END_HEADERS | END_STREAM)],
  ['no status', rawHeaders([['grpc-status', '0']], END_HEADERS | END_STREAM)],
  [
    'headers about the connection',
    Buffer.concat([
      rawHeaders([...OK, ['http2-settings', 'AA']], END_HEADERS),
      MESSAGE,
      rawHeaders(
        [
          ['grpc-status', '0'],
          ['http2-settings', 'AA'],
          ['upgrade', 'x'],
        ],
        END_HEADERS | END_STREAM,
      ),
    ]),
  ],
  [
    'pseudo headers in trailers',
    Buffer.concat([rawHeaders(OK, END_HEADERS), MESSAGE, rawHeaders([[':status', '200']], END_HEADERS | END_STREAM)]),
  ],
  [
    'a grpc-status that is no number',
    rawHeaders([...OK, ['grpc-status', 'none'], ['grpc-message', '%zz']], END_HEADERS | END_STREAM),
  ],
  ['an end without trailers', Buffer.concat([rawHeaders(OK, END_HEADERS), rawFrame(FRAME.DATA, END_STREAM, 1)])],
  ['a reset with an unknown code', rawFrame(FRAME.RST_STREAM, 0, 1, Buffer.from([0, 0, 1, 0]))],
  ['a farewell, then the end', Buffer.concat([rawFrame(FRAME.GOAWAY, 0, 0, Buffer.alloc(8))])],
  ['a window beyond its limit', rawFrame(FRAME.WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]))],
];

/** Answers the first bytes of every connection, which hold the request, with the given ones, and closes it soon. */
function startRawRuntime(path: string, answer: Buffer | 'close'): Promise<Server> {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      if (answer === 'close') socket.destroy();
      else socket.write(Buffer.concat([rawFrame(FRAME.SETTINGS, 0, 0), answer]));
      setTimeout(() => socket.destroy(), 100);
    });
  });
  return new Promise((resolve) => server.listen(path, () => resolve(server)));
}

/** A call that its caller gives up after a while, as every gRPC library does at the deadline. */
async function callWithin(bench: Bench, path: string, frame: Uint8Array, ms: number): Promise<SeenCall> {
  const stream = bench.connect().request({ ...GRPC_HEADERS, ':path': path, 'grpc-timeout': `${ms}m` });
  const timer = setTimeout(() => stream.close(8), ms + 200);
  const seen = watch(stream);
  stream.end(frame);
  try {
    return await seen;
  } finally {
    clearTimeout(timer);
  }
}

async function withRawRuntime(bench: Bench, answer: Buffer | 'close', work: () => Promise<void>): Promise<void> {
  const runtime = await startRawRuntime(bench.runtimePath, answer);
  await work();
  await new Promise((resolve) => runtime.close(resolve));
  await rm(bench.runtimePath, { force: true });
}

t.test('answers that no runtime gives', async (t) => {
  const bench = await startBench(t);
  const agent = await bench.startAgent();
  const stop = frameOf('stopContainer', { containerId: 'c' });
  for (const [what, answer] of ANSWERS) {
    await withRawRuntime(bench, answer, async () => {
      for (const path of ['/a.B/Relayed', '/runtime.v1.RuntimeService/StopContainer']) {
        const seen = await callWithin(bench, path, stop, 1200);
        const ended = seen.status !== undefined || seen.resetWith !== 0 || seen.headers !== undefined;
        t.ok(ended, `${what}: ${path} has ended`);
      }
    });
  }
  agent.stop();
  for (const [what, answer] of ANSWERS) {
    await withRawRuntime(bench, answer, async () => {
      const seen = await callWithin(
        bench,
        '/runtime.v1.RuntimeService/RemoveContainer',
        frameOf('removeContainer', {}),
        1200,
      );
      const unknown: readonly unknown[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED];
      t.ok(unknown.includes(seen.status), `${what}: not taken for an answer about a container (${seen.message})`);
    });
  }
});

t.test(
  'a connection that Node has given up without a word is replaced after the first call that is given up',
  async (t) => {
    const bench = await startBench(t);
    const wedge = ANSWERS.find(([what]) => what === 'bytes that are no HTTP/2')?.[1] ?? 'close';
    // A call whose caller waits for ever keeps the dead connection in use.
    const patient = bench.connect().request({ ...GRPC_HEADERS, ':path': '/a.B/Patient' });
    patient.on('error', () => {});
    await withRawRuntime(bench, wedge, async () => {
      patient.end(encodeFrame(Buffer.alloc(0)));
      await new Promise((resolve) => setTimeout(resolve, 200));
      await callWithin(bench, '/a.B/C', encodeFrame(Buffer.alloc(0)), 1200);
    });
    await bench.startRuntime({ onCall: (call) => reply(call, Buffer.from('fine')) });
    const seen = await callWithin(bench, '/a.B/C', encodeFrame(Buffer.alloc(0)), 3000);
    t.equal(seen.status, 0, 'the next call takes a new one');
    patient.close(8);
  },
);
