// The server on a real socket, asked by a real client: errors, cancellation, deadlines, permissions, shutdown.
import { link, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import type { FinishedCall } from '../../../agent/api/call-adapter.ts';
import { implement, type ServeOptions, serveUnix } from '../../../agent/api/grpc-server.ts';
import type { Handlers } from '../../../agent/api/handlers.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { callServerStream, callUnary, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import { Health, HealthCheckRequestSchema } from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';

const request = create(HealthCheckRequestSchema, { service: 'x' });

async function serve(t: Test, handlers: Handlers<typeof Health>, more: Partial<ServeOptions> = {}) {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-api-'));
  const finished: FinishedCall[] = [];
  const server = await serveUnix({
    path: path.join(directory, 'test.sock'),
    services: [implement(Health, handlers)],
    onFinished: (call) => finished.push(call),
    ...more,
  });
  const client = connectUnix(server.path);
  t.teardown(async () => {
    client.close();
    await server.close(0);
    await rm(directory, { recursive: true });
  });
  return { server, client, finished };
}

const never: Handlers<typeof Health> = {
  check: (_request, { signal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  watch: async function* (_request, { signal }) {
    yield { status: 1 };
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  },
};

t.test('what a handler throws goes out as a status, and the call is reported', async (t) => {
  const { client, finished } = await serve(t, {
    ...never,
    check: async () => {
      throw new HoldfastError('NO_ROOM', 'no NUMA node has 4 free CPUs');
    },
  });
  const error = await callUnary(client, Health.method.check, request, { timeoutMs: 5000 }).catch((e: unknown) => e);
  t.ok(isServiceError(error, status.RESOURCE_EXHAUSTED));
  t.match(error, { details: 'holdfast NO_ROOM: no NUMA node has 4 free CPUs' });
  t.match(finished, [{ method: 'grpc.health.v1.Health/Check', code: status.RESOURCE_EXHAUSTED }]);
});

t.test('a passed deadline and a cancellation abort the handler', async (t) => {
  const { client, finished } = await serve(t, never);
  const late = await callUnary(client, Health.method.check, request, { timeoutMs: 50 }).catch((e: unknown) => e);
  t.ok(isServiceError(late, status.DEADLINE_EXCEEDED));
  const controller = new AbortController();
  const stream = callServerStream(client, Health.method.watch, request, { timeoutMs: 5000, signal: controller.signal });
  t.match(await stream.next(), { value: { status: 1 } });
  controller.abort();
  await t.rejects(stream.next());
  while (finished.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  t.match(finished, [{ code: status.DEADLINE_EXCEEDED }, { code: status.CANCELLED }]);
});

t.test('shutting down ends streams at once, and waits for calls as long as it may', async (t) => {
  let release = (): void => {};
  const entered = new Promise<void>((resolve) => {
    release = resolve;
  });
  let answer = (): void => {};
  const { client, server } = await serve(t, {
    ...never,
    check: async () => {
      release();
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return { status: 1 };
    },
  });
  const stream = callServerStream(client, Health.method.watch, request, { timeoutMs: 5000 });
  await stream.next();
  const call = callUnary(client, Health.method.check, request, { timeoutMs: 5000 });
  await entered;
  const closing = server.close(4000);
  const ended = await stream.next().catch((error: unknown) => error);
  t.ok(isServiceError(ended, status.UNAVAILABLE));
  answer();
  t.match(await call, { status: 1 });
  await closing;
  await t.rejects(stat(server.path), { code: 'ENOENT' });
});

t.test('a call that does not end within the grace period is told that the agent goes', async (t) => {
  const { client, server } = await serve(t, never);
  const call = callUnary(client, Health.method.check, request, { timeoutMs: 5000 }).catch((e: unknown) => e);
  const stream = callServerStream(client, Health.method.watch, request, { timeoutMs: 5000 });
  await stream.next();
  await server.close(20);
  t.ok(isServiceError(await call, status.UNAVAILABLE, status.CANCELLED));
  await stream.return();
});

t.test('the socket file is for its owner, or for a group too', async (t) => {
  const { server } = await serve(t, never);
  t.equal((await stat(server.path)).mode & 0o777, 0o600);
  if (process.getuid?.() !== 0) return t.comment('skipped: giving a socket to a group needs root');
  const shared = await serve(t, never, { groupId: 12345 });
  const { mode, gid } = await stat(shared.server.path);
  t.equal(mode & 0o777, 0o660);
  t.equal(gid, 12345);
});

t.test('a second server on the same path is refused, a stale file is replaced', async (t) => {
  const { server } = await serve(t, never);
  const options: ServeOptions = { path: server.path, services: [], onFinished: () => {} };
  await t.rejects(serveUnix(options), { code: 'PRECONDITION' });
  const stale = `${server.path}-stale`;
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(`${stale}-real`, resolve));
  await link(`${stale}-real`, stale);
  await new Promise((resolve) => dead.close(resolve));
  const second = await serveUnix({ ...options, path: stale });
  await second.close(0);
});

t.test('a message over 16 MiB is refused and the server goes on', async (t) => {
  const { client } = await serve(t, { ...never, check: async () => ({ status: 1 }) });
  const large = create(HealthCheckRequestSchema, { service: 'x'.repeat(16 * 1024 * 1024) });
  const refused = await callUnary(client, Health.method.check, large, { timeoutMs: 5000 }).catch((e: unknown) => e);
  t.ok(isServiceError(refused, status.RESOURCE_EXHAUSTED));
  t.match(await callUnary(client, Health.method.check, request, { timeoutMs: 5000 }), { status: 1 });
});
