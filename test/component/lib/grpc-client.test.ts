import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { type handleServerStreamingCall, type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { serviceDefinition } from '../../../lib/grpc.ts';
import { callServerStream, callUnary, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import {
  Health,
  type HealthCheckRequest,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';

/** Not t.testdir(): the path of a unix socket may have 107 bytes. */
async function socketDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-grpc-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

/** A health server that answers "echo", hangs on anything else and streams without end. */
async function serve(t: Test): Promise<{ readonly path: string; readonly cancelled: EventTarget }> {
  const path = join(await socketDirectory(t), 'server.sock');
  const cancelled = new EventTarget();
  const server = new Server();
  const answer = (status: HealthCheckResponse_ServingStatus) => create(HealthCheckResponseSchema, { status });
  const check: handleUnaryCall<HealthCheckRequest, HealthCheckResponse> = (call, reply) => {
    if (call.request.service === 'echo') reply(null, answer(HealthCheckResponse_ServingStatus.SERVING));
    call.on('cancelled', () => cancelled.dispatchEvent(new Event('cancelled')));
  };
  const watch: handleServerStreamingCall<HealthCheckRequest, HealthCheckResponse> = (call) => {
    call.write(answer(HealthCheckResponse_ServingStatus.SERVING));
    call.write(answer(HealthCheckResponse_ServingStatus.NOT_SERVING));
    call.on('cancelled', () => cancelled.dispatchEvent(new Event('cancelled')));
  };
  server.addService(serviceDefinition(Health), { check, watch });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  return { path, cancelled };
}

t.test('a unary call answers, times out, and is cancelled by its signal', async (t) => {
  const { path, cancelled } = await serve(t);
  const client = connectUnix(path);
  t.teardown(() => client.close());
  const check = Health.method.check;
  const ask = (service: string, options: { timeoutMs: number; signal?: AbortSignal }) =>
    callUnary(client, check, create(HealthCheckRequestSchema, { service }), options);
  t.equal((await ask('echo', { timeoutMs: 5000 })).status, 1);
  await t.rejects(ask('hang', { timeoutMs: 50 }), { code: status.DEADLINE_EXCEEDED });
  const abort = new AbortController();
  const seen = once(cancelled, 'cancelled');
  const hanging = ask('hang', { timeoutMs: 60_000, signal: abort.signal });
  setImmediate(() => abort.abort(new Error('enough')));
  await t.rejects(hanging, { message: 'enough' });
  await seen;
  await t.rejects(ask('echo', { timeoutMs: 5000, signal: abort.signal }), { message: 'enough' }, 'aborted before');
});

t.test('a stream yields until the reader stops, and the server hears of it', async (t) => {
  const { path, cancelled } = await serve(t);
  const client = connectUnix(path);
  t.teardown(() => client.close());
  const seen = once(cancelled, 'cancelled');
  const states: number[] = [];
  for await (const { status: state } of callServerStream(
    client,
    Health.method.watch,
    create(HealthCheckRequestSchema),
    {
      timeoutMs: 60_000,
    },
  )) {
    states.push(state);
    if (states.length === 2) break;
  }
  t.same(states, [1, 2]);
  await seen;
});

t.test('a server that is not there is an error and not a wait', async (t) => {
  const client = connectUnix(join(await socketDirectory(t), 'none.sock'));
  t.teardown(() => client.close());
  const failure = await callUnary(client, Health.method.check, create(HealthCheckRequestSchema), {
    timeoutMs: 30_000,
  }).catch((error: unknown) => error);
  t.ok(isServiceError(failure, status.UNAVAILABLE));
});
