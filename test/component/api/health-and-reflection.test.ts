// What grpcurl and health probes see of a server.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { create, createFileRegistry, fromBinary, type UnknownField } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type Client, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { implement, serveUnix } from '../../../agent/api/grpc-server.ts';
import { HealthState, healthHandlers } from '../../../agent/api/health.ts';
import { reflectionServices } from '../../../agent/api/reflection.ts';
import { methodDefinition } from '../../../lib/grpc.ts';
import { callServerStream, callUnary, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from '../../../proto/gen/wire/grpc/reflection/v1/reflection_pb.ts';

async function serve(t: Test) {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-api-'));
  const state = new HealthState(['holdfast.topology.v1.Topology']);
  const services = [implement(Health, healthHandlers(state))];
  const server = await serveUnix({
    path: path.join(directory, 'test.sock'),
    services: [...services, ...reflectionServices(services)],
    onFinished: () => {},
  });
  const client = connectUnix(server.path);
  t.teardown(async () => {
    client.close();
    await server.close(0);
    await rm(directory, { recursive: true });
  });
  return { client, state };
}

interface Asked {
  readonly case: 'listServices' | 'fileContainingSymbol' | 'fileByFilename' | 'allExtensionNumbersOfType';
  readonly value: string;
}

/**
 * One question over a stream of its own.
 * @param unknown - fields that are not of its type
 */
async function reflect(
  client: Client,
  version: 'v1' | 'v1alpha',
  asked: Asked,
  unknown: readonly UnknownField[] = [],
): Promise<ServerReflectionResponse> {
  const method = ServerReflection.method.serverReflectionInfo;
  const definition = methodDefinition(method, `grpc.reflection.${version}.ServerReflection`);
  const { path: name, requestSerialize, responseDeserialize } = definition;
  const call = client.makeBidiStreamRequest(name, requestSerialize, responseDeserialize);
  const request = create(ServerReflectionRequestSchema, { host: 'h', messageRequest: asked });
  request.$unknown = [...unknown];
  call.write(request);
  const [response] = (await once(call, 'data')) as [ServerReflectionResponse];
  const ended = once(call, 'end');
  call.end();
  await ended;
  return response;
}

t.test('health: nothing serves before it is said, then everything does', async (t) => {
  const { client, state } = await serve(t);
  const check = (service: string) =>
    callUnary(client, Health.method.check, create(HealthCheckRequestSchema, { service }), { timeoutMs: 5000 });
  t.equal((await check('')).status, Serving.NOT_SERVING);
  state.set(true);
  t.equal((await check('')).status, Serving.SERVING);
  t.equal((await check('holdfast.topology.v1.Topology')).status, Serving.SERVING);
  const unknown = await check('nobody').catch((error: unknown) => error);
  t.ok(isServiceError(unknown, status.NOT_FOUND));
});

t.test('health: a watcher sees each change once', async (t) => {
  const { client, state } = await serve(t);
  const watch = callServerStream(client, Health.method.watch, create(HealthCheckRequestSchema, {}), {
    timeoutMs: 5000,
  });
  const next = async () => (await watch.next()).value?.status;
  t.equal(await next(), Serving.NOT_SERVING);
  state.set(false);
  state.set(true);
  t.equal(await next(), Serving.SERVING);
  await watch.return();
  const stranger = callServerStream(client, Health.method.watch, create(HealthCheckRequestSchema, { service: 'x' }), {
    timeoutMs: 5000,
  });
  t.equal((await stranger.next()).value?.status, Serving.SERVICE_UNKNOWN, 'which may come later, says the protocol');
  await stranger.return();
});

t.test('reflection: both versions list the services', async (t) => {
  const { client } = await serve(t);
  for (const version of ['v1', 'v1alpha'] as const) {
    const { messageResponse, validHost } = await reflect(client, version, { case: 'listServices', value: '*' });
    t.equal(validHost, 'h');
    t.equal(messageResponse.case, 'listServicesResponse');
    const listed = messageResponse.case === 'listServicesResponse' ? messageResponse.value.service : [];
    t.strictSame(
      listed.map(({ name }) => name),
      ['grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection'],
    );
  }
});

t.test('reflection: what it describes can be used to call the service', async (t) => {
  const { client } = await serve(t);
  const questions: readonly Asked[] = [
    { case: 'fileContainingSymbol', value: 'grpc.health.v1.Health' },
    { case: 'fileContainingSymbol', value: 'grpc.health.v1.Health.Check' },
    { case: 'fileContainingSymbol', value: 'grpc.health.v1.HealthCheckResponse' },
    { case: 'fileContainingSymbol', value: 'grpc.health.v1.HealthCheckResponse.ServingStatus' },
    { case: 'fileByFilename', value: 'wire/grpc/health/v1/health.proto' },
  ];
  for (const asked of questions) {
    const { messageResponse } = await reflect(client, 'v1', asked);
    t.equal(messageResponse.case, 'fileDescriptorResponse', asked.value);
    if (messageResponse.case !== 'fileDescriptorResponse') continue;
    const file = messageResponse.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    const service = createFileRegistry(create(FileDescriptorSetSchema, { file })).getService('grpc.health.v1.Health');
    t.strictSame(
      service?.methods.map(({ name }) => name),
      ['Check', 'Watch'],
    );
  }
});

t.test('reflection: what is not there is an error in the stream, which goes on', async (t) => {
  const { client } = await serve(t);
  const questions: readonly Asked[] = [
    { case: 'fileContainingSymbol', value: 'no.such.Thing' },
    { case: 'fileByFilename', value: '../../etc/passwd' },
    { case: 'allExtensionNumbersOfType', value: 'x' },
  ];
  for (const asked of questions) {
    const { messageResponse } = await reflect(client, 'v1', asked);
    t.match(messageResponse, { case: 'errorResponse', value: { errorCode: status.NOT_FOUND } });
  }
});

t.test('what a request says beyond its type is skipped, not kept', async (t) => {
  const { client } = await serve(t);
  const unknown = [{ no: 1000, wireType: WireType.LengthDelimited, data: Buffer.from([1, 0x41]) }];
  // This service answers with the request as it was read.
  const { originalRequest } = await reflect(client, 'v1', { case: 'listServices', value: '*' }, unknown);
  t.equal(originalRequest?.host, 'h');
  t.equal(originalRequest?.$unknown, undefined);
});
