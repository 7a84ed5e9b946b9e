// Runtimes that are not containerd, or speak an older CRI: what is there is used, what is missing is not offered.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type DescMethod, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { containerId } from '../../../agent/model/ids.ts';
import { openRuntime } from '../../../agent/runtime/containerd.ts';
import type { ContainerRuntime } from '../../../agent/runtime/runtime.ts';
import { ContainerState, RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';

const NEVER = new AbortController().signal;
const { method } = RuntimeService;

type Answer = readonly [DescMethod, (request: unknown) => unknown];

function answer<Method extends DescMethod>(called: Method, work: () => MessageInitShape<Method['output']>): Answer {
  return [
    called,
    () => toBinary(called.output, create(called.output, work() as MessageInitShape<DescMethod['output']>)),
  ];
}

/** A CRI server with a few answers under a service name of its own; everything else is not implemented. */
async function serve(t: Test, service: string, answers: readonly Answer[]): Promise<ContainerRuntime> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-cri-'));
  const server = new Server();
  const definition: Record<string, ServiceDefinition<UntypedServiceImplementation>[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [called, work] of answers) {
    definition[called.name] = {
      path: `/${service}/${called.name}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
      requestDeserialize: (wire) => fromBinary(called.input, wire),
      responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
      responseDeserialize: (wire) => wire,
    };
    implementation[called.name] = (
      call: { readonly request: unknown },
      callback: (error: null, value: unknown) => void,
    ): void => callback(null, work(call.request));
  }
  server.addService(definition, implementation);
  const endpoint = join(directory, 'cri.sock');
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${endpoint}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const runtime = openRuntime({ endpoint, logger: pino({ level: 'silent' }) });
  t.teardown(async () => {
    runtime.close();
    server.forceShutdown();
    await rm(directory, { recursive: true, force: true });
  });
  return runtime;
}

const VERSION = answer(method.version, () => ({ runtimeName: 'cri-o', runtimeVersion: '1.30' }));
const LIST = answer(method.listContainers, () => ({
  containers: [{ id: 'c', podSandboxId: 's', state: ContainerState.CONTAINER_RUNNING }],
}));
const STATUS = answer(method.containerStatus, () => ({
  status: { id: 'c', state: ContainerState.CONTAINER_RUNNING, startedAt: 7_000_000n },
  info: { info: '{"pid":42}' },
}));

t.test('another runtime has no layers and no specs, but processes', async (t) => {
  const runtime = await serve(t, 'runtime.v1.RuntimeService', [VERSION, LIST, STATUS]);
  t.strictSame(await runtime.version(NEVER), { name: 'cri-o', version: '1.30' });
  t.equal(runtime.layers, undefined);
  t.equal(runtime.specs, undefined);
  t.equal(await runtime.processId(containerId('c'), NEVER), 42);
  t.strictSame([...(await runtime.processIds(NEVER))], [['c', 42]]);
  t.match(await runtime.containerStatus(containerId('c'), NEVER), { sandboxId: 's', startedAt: 7 });
});

t.test('an old runtime that speaks only v1alpha2', async (t) => {
  const runtime = await serve(t, 'runtime.v1alpha2.RuntimeService', [VERSION, LIST]);
  t.match(await runtime.listContainers(NEVER), [{ id: 'c', state: 'running' }]);
  await t.rejects(runtime.listSandboxes(NEVER), { name: 'HoldfastError', code: 'UNSUPPORTED' });
});

t.test('something that is no container runtime', async (t) => {
  const runtime = await serve(t, 'another.Service', [VERSION]);
  await t.rejects(runtime.version(NEVER), { name: 'HoldfastError', code: 'UNSUPPORTED' });
});

t.test('nothing at all', async (t) => {
  const runtime = openRuntime({ endpoint: '/nonexistent/cri.sock', logger: pino({ level: 'silent' }) });
  t.teardown(() => runtime.close());
  await t.rejects(runtime.version(NEVER), { name: 'HoldfastError', code: 'UNAVAILABLE', message: /does not answer/ });
});
