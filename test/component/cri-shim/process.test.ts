// The shim as a process: its socket, its flags, its signals.
import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { encodeFrame } from '../../../cri-shim/grpc/frame.ts';
import { listenOnly, receiveDatagrams } from '../lib/support/libc.ts';
import { GRPC_HEADERS, until, watch } from './support/bench.ts';
import { type RuntimeBehaviour, reply, startFakeRuntime } from './support/fake-runtime.ts';
import { createWorkplace, type Workplace } from './support/shim-process.ts';

const ECHO: RuntimeBehaviour = { onCall: (call) => reply(call, call.body?.subarray(5) ?? Buffer.alloc(0)) };

function open(path: string): ClientHttp2Session {
  const session = connect('http://localhost', { createConnection: () => connectSocket(path) });
  session.on('error', () => {});
  return session;
}

async function echo(path: string): Promise<string> {
  const session = open(path);
  const stream = session.request({ ...GRPC_HEADERS, ':path': '/a.B/Echo' });
  const seen = watch(stream);
  stream.end(encodeFrame(Buffer.from('hello')));
  const { body, message } = await seen;
  session.destroy();
  return body.length > 0 ? body.subarray(5).toString() : message;
}

async function startRuntime(
  t: { teardown(handler: () => Promise<void>): void },
  work: Workplace,
  behaviour: RuntimeBehaviour,
) {
  const runtime = await startFakeRuntime(work.runtimePath, behaviour);
  t.teardown(() => runtime.kill());
  return runtime;
}

t.test('it serves its socket, for its owner only, and takes it away at the end', async (t) => {
  const work = await createWorkplace(t);
  await startRuntime(t, work, ECHO);
  const shim = work.spawn();
  await shim.ready();
  t.equal((await stat(work.shimPath)).mode & 0o777, 0o600);
  t.equal(await echo(work.shimPath), 'hello');
  shim.child.kill('SIGTERM');
  t.same(await shim.exited, { code: 0, signal: null });
  t.notOk(existsSync(work.shimPath));
  t.match(shim.output(), /"event":"stopped"/);
});

t.test('a second instance is refused and the first one goes on', async (t) => {
  const work = await createWorkplace(t);
  await startRuntime(t, work, ECHO);
  const first = work.spawn();
  await first.ready();
  const second = work.spawn();
  t.same(await second.exited, { code: 1, signal: null });
  t.match(second.output(), /another process is listening on .*cri\.sock/);
  t.equal(await echo(work.shimPath), 'hello');
});

t.test('the socket of a killed instance is taken over, with calls under way', async (t) => {
  const work = await createWorkplace(t);
  const runtime = await startRuntime(t, work, {
    onCall: (call) => (call.path === '/a.B/Echo' ? ECHO.onCall?.(call) : undefined),
  });
  const first = work.spawn();
  await first.ready();
  const session = open(work.shimPath);
  const stream = session.request({ ...GRPC_HEADERS, ':path': '/a.B/Hang' });
  const seen = watch(stream);
  stream.end(encodeFrame(Buffer.alloc(0)));
  await until(() => runtime.calls[0]?.body !== undefined, 'the call is under way');
  first.child.kill('SIGKILL');
  await first.exited;
  t.equal((await seen).status, undefined, 'the caller learns of it by its connection');
  await until(() => runtime.calls[0]?.closedWith !== undefined, 'and so does the runtime');
  t.ok(existsSync(work.shimPath), 'the socket file is stale');
  const second = work.spawn();
  await second.ready();
  t.equal(await echo(work.shimPath), 'hello');
});

t.test('a file that is no socket is left alone', async (t) => {
  const work = await createWorkplace(t);
  await writeFile(work.shimPath, 'precious');
  const shim = work.spawn();
  t.same(await shim.exited, { code: 1, signal: null });
  t.match(shim.output(), /exists and is not a socket/);
  t.equal((await stat(work.shimPath)).size, 8);
});

t.test('wrong flags end with 2 and say which; --help with 0', async (t) => {
  const work = await createWorkplace(t);
  const wrong = work.spawn({ args: ['--upsteam', '/x'] });
  t.same(await wrong.exited, { code: 2, signal: null });
  t.match(wrong.output(), /--upsteam/);
  const help = work.spawn({ args: ['--help'] });
  t.same(await help.exited, { code: 0, signal: null });
  t.match(help.output(), /--upstream PATH/);
});

t.test('a socket passed by systemd: a restart refuses no connection', async (t) => {
  const work = await createWorkplace(t);
  await startRuntime(t, work, ECHO);
  const socket = listenOnly(work.shimPath);
  t.teardown(async () => socket.close());
  const early = echo(work.shimPath);
  const first = work.spawn({ inherit: socket.fd });
  await first.ready();
  t.match(first.output(), /the socket passed by systemd/);
  t.equal(await early, 'hello', 'who came before the first start is served');
  first.child.kill('SIGTERM');
  t.same(await first.exited, { code: 0, signal: null });
  t.ok(existsSync(work.shimPath), 'the socket file is systemd’s and stays');
  const between = echo(work.shimPath);
  const second = work.spawn({ inherit: socket.fd });
  await second.ready();
  t.equal(await between, 'hello', 'who came between two instances is served');
});

t.test('systemd is told when it is ready and when it stops', async (t) => {
  const work = await createWorkplace(t);
  const notify = `${work.directory}/notify.sock`;
  const receiver = receiveDatagrams(notify);
  t.teardown(async () => receiver.close());
  const shim = work.spawn({ env: { NOTIFY_SOCKET: notify, WATCHDOG_USEC: '100000' } });
  const told: string[] = [];
  const tells = (state: string): boolean => {
    told.push(...receiver.take());
    return told.some((message) => message.startsWith(state));
  };
  await until(() => tells('READY=1'), 'READY=1');
  t.ok(existsSync(work.shimPath), 'it serves by then');
  await until(() => tells('WATCHDOG=1'), 'WATCHDOG=1');
  shim.child.kill('SIGTERM');
  await until(() => tells('STOPPING=1'), 'STOPPING=1');
  t.same(await shim.exited, { code: 0, signal: null });
});

t.test('calls under way are finished before the end, streams are told why they end', async (t) => {
  const work = await createWorkplace(t);
  const runtime = await startRuntime(t, work, {
    onCall: ({ path, stream }) => {
      if (path !== '/a.B/Stream') return;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.write(encodeFrame(Buffer.from('event')));
    },
  });
  const shim = work.spawn();
  await shim.ready();
  const session = open(work.shimPath);
  const slow = session.request({ ...GRPC_HEADERS, ':path': '/a.B/Slow' });
  const seenSlow = watch(slow);
  slow.end(encodeFrame(Buffer.alloc(0)));
  const events = session.request({ ...GRPC_HEADERS, ':path': '/a.B/Stream' });
  const seenEvents = watch(events);
  events.end(encodeFrame(Buffer.alloc(0)));
  await new Promise((resolve) => events.once('data', resolve));
  await until(() => runtime.calls.length === 2, 'both are under way');
  shim.child.kill('SIGTERM');
  t.match(await seenEvents, { status: status.UNAVAILABLE, message: /being restarted/ });
  const call = runtime.calls.find(({ path }) => path === '/a.B/Slow');
  t.equal(call?.closedWith, undefined, 'the other call still waits for its answer');
  if (call !== undefined) reply(call, Buffer.from('done'));
  t.match(await seenSlow, { status: 0, body: encodeFrame(Buffer.from('done')) });
  t.same(await shim.exited, { code: 0, signal: null });
});

t.test('a second signal ends it at once', async (t) => {
  const work = await createWorkplace(t);
  const runtime = await startRuntime(t, work, { onCall: () => {} });
  const shim = work.spawn();
  await shim.ready();
  const session = open(work.shimPath);
  const stream = session.request({ ...GRPC_HEADERS, ':path': '/a.B/Hang' });
  stream.on('error', () => {});
  stream.end(encodeFrame(Buffer.alloc(0)));
  await until(() => runtime.calls.length === 1, 'a call is under way');
  shim.child.kill('SIGTERM');
  await until(() => shim.output().includes('"event":"stopping"'), 'it drains');
  shim.child.kill('SIGINT');
  t.same(await shim.exited, { code: 1, signal: null });
  session.destroy();
});
