// The podresources service on a real socket, with a kubelet on another: there, away, silent, and back.
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { type Client, status } from '@grpc/grpc-js';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import t, { type Test } from 'tap';
import { implement, serveUnix } from '../../../agent/api/grpc-server.ts';
import type { Handlers } from '../../../agent/api/handlers.ts';
import { podResourcesHandlers, podResourcesLine } from '../../../agent/api/pod-resources-service.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { openKubeletPodResources } from '../../../agent/cluster/kubelet-pod-resources.ts';
import type { Snapshot } from '../../../agent/published/snapshot.ts';
import { callUnary, connectUnix, isServiceError } from '../../../lib/grpc-client.ts';
import {
  HostTopologySchema,
  ListAllocationsResponseSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import {
  AllocatableResourcesRequestSchema,
  GetPodResourcesRequestSchema,
  ListPodResourcesRequestSchema,
  type ListPodResourcesResponse,
  PodResourcesLister,
} from '../../../proto/gen/wire/podresources/v1/podresources_pb.ts';

const PATIENT_MS = 60_000;

const RESERVED = 1024;

const snapshot = (): Snapshot => ({
  topology: create(HostTopologySchema, {
    numaNodes: [{ id: 0, memoryBytes: 4096n, memoryAvailableBytes: 3072n, allocatableCpus: '0-3' }],
  }),
  allocations: create(ListAllocationsResponseSchema, {
    pods: [{ namespace: 'default', name: 'a', containers: [{ name: 'app', cpuset: 'exclusive', cpus: '1' }] }],
  }),
});

const device = { resourceName: 'example.com/nic', deviceIds: ['x'] };
const pods = [{ namespace: 'default', name: 'a', containers: [{ name: 'app', devices: [device], cpuIds: [9n] }] }];

const answering: Handlers<typeof PodResourcesLister> = {
  list: async () => ({ podResources: pods }),
  getAllocatableResources: async () => ({ devices: [device], cpuIds: [9n] }),
  get: async () => ({}),
};

const silent: Handlers<typeof PodResourcesLister> = {
  ...answering,
  list: (_request, { signal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
};

/** Answers when it is told to, and tells when it was asked so often. */
function slow(questions: number) {
  let left = questions;
  const { promise: asked, resolve: tellAsked } = withResolvers();
  const { promise: mayAnswer, resolve: answer } = withResolvers();
  const after = async <Answer>(of: Promise<Answer>): Promise<Answer> => {
    left -= 1;
    if (left === 0) tellAsked();
    await mayAnswer;
    return of;
  };
  const handlers: Handlers<typeof PodResourcesLister> = {
    ...answering,
    list: (request, context) => after(answering.list(request, context)),
    getAllocatableResources: (request, context) => after(answering.getAllocatableResources(request, context)),
  };
  return { handlers, asked, answer };
}

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

interface Bench {
  readonly client: Client;
  readonly kubelet: ReturnType<typeof openKubeletPodResources>;
  readonly log: readonly string[];
  readonly startKubelet: (handlers: Handlers<typeof PodResourcesLister>) => Promise<() => Promise<void>>;
}

interface BenchOptions {
  /** Undefined where nothing is placed. */
  readonly shown: (() => Snapshot) | undefined;
  /** Milliseconds that the kubelet has. */
  readonly patienceMs?: number;
}

async function bench(t: Test, { shown, ...patience }: BenchOptions = { shown: snapshot }): Promise<Bench> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-podresources-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const socket = path.join(directory, 'kubelet.sock');
  const log: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(line) });
  const kubelet = openKubeletPodResources({ socket, metrics: new Registry(), logger, ...patience });
  t.teardown(() => kubelet.close());
  const handlers = podResourcesHandlers({ snapshot: shown, kubelet, reservedMemory: RESERVED });
  const onFinished = (): void => undefined;
  const ours = await serveUnix({
    path: path.join(directory, 'ours.sock'),
    services: [implement(PodResourcesLister, handlers)],
    onFinished,
  });
  t.teardown(() => ours.close(0));
  const client = connectUnix(ours.path);
  t.teardown(() => client.close());
  const startKubelet = async (of: Handlers<typeof PodResourcesLister>) => {
    const server = await serveUnix({ path: socket, services: [implement(PodResourcesLister, of)], onFinished });
    let closed = false;
    const stop = async (): Promise<void> => {
      if (closed) return;
      closed = true;
      await server.close(0);
    };
    t.teardown(stop);
    return stop;
  };
  return { client, kubelet, log, startKubelet };
}

const list = (client: Client) =>
  callUnary(client, PodResourcesLister.method.list, create(ListPodResourcesRequestSchema), { timeoutMs: PATIENT_MS });
const allocatable = (client: Client) =>
  callUnary(client, PodResourcesLister.method.getAllocatableResources, create(AllocatableResourcesRequestSchema), {
    timeoutMs: PATIENT_MS,
  });
const get = (client: Client, podName: string) => {
  const request = create(GetPodResourcesRequestSchema, { podNamespace: 'default', podName });
  return callUnary(client, PodResourcesLister.method.get, request, { timeoutMs: PATIENT_MS });
};
const devicesIn = ({ podResources }: ListPodResourcesResponse): number =>
  podResources.reduce((sum, { containers }) => sum + (containers[0]?.devices.length ?? 0), 0);
const ours = [{ namespace: 'default', name: 'a', containers: [{ name: 'app', cpuIds: [1n] }] }];
const merged = [{ ...ours[0], containers: [{ name: 'app', cpuIds: [1n], devices: [device] }] }];

t.test("our CPUs and the kubelet's devices in one answer", async (t) => {
  const { client, kubelet, startKubelet } = await bench(t);
  t.match(podResourcesLine(kubelet), { level: 'ok' });
  await startKubelet(answering);
  t.match((await list(client)).podResources, merged);
  t.match(await allocatable(client), {
    cpuIds: [0n, 1n, 2n, 3n],
    devices: [device],
    memory: [{ memoryType: 'memory', size: 3072n }],
  });
  t.match(podResourcesLine(kubelet), { level: 'ok' });
});

t.test('a kubelet that is away costs its devices and nothing else, and is asked again', async (t) => {
  const { client, kubelet, log, startKubelet } = await bench(t);
  const alone = await list(client);
  t.match(alone.podResources, ours);
  t.equal(devicesIn(alone), 0);
  t.match((await list(client)).podResources, ours);
  t.match(podResourcesLine(kubelet), { level: 'warning', text: /devices are missing.*kubelet\.sock/ });
  t.equal(log.length, 1, 'said once');
  const stop = await startKubelet(answering);
  await pollUntil('devices', PATIENT_MS, async () => {
    return devicesIn(await list(client)) === 1 ? true : undefined;
  });
  t.match(podResourcesLine(kubelet), { level: 'ok' });
  t.equal(log.length, 2, 'and once that it is back');
  await stop();
  t.match((await list(client)).podResources, ours);
  t.match(podResourcesLine(kubelet), { level: 'warning' });
});

t.test('a kubelet that says nothing is not waited for', async (t) => {
  const { client, kubelet, startKubelet } = await bench(t);
  await startKubelet(silent);
  const answers = await Promise.all([list(client), list(client), list(client)]);
  for (const answer of answers) {
    t.match(answer.podResources, ours);
    t.equal(devicesIn(answer), 0);
  }
  t.match(podResourcesLine(kubelet), { level: 'warning' });
});

t.test('what changes while the kubelet is asked is in the answer', async (t) => {
  let shown = snapshot();
  const { client, startKubelet } = await bench(t, { shown: () => shown, patienceMs: PATIENT_MS });
  const { handlers, asked, answer } = slow(2);
  await startKubelet(handlers);
  const answers = Promise.all([list(client), allocatable(client)]);
  await asked;
  const containers = [{ name: 'app', cpuset: 'exclusive', cpus: '2-3' }];
  shown = {
    topology: create(HostTopologySchema, { numaNodes: [{ id: 0, allocatableCpus: '2-3' }] }),
    allocations: create(ListAllocationsResponseSchema, { pods: [{ namespace: 'default', name: 'a', containers }] }),
  };
  answer();
  const [listed, allocatableNow] = await answers;
  t.match(listed.podResources, [{ containers: [{ cpuIds: [2n, 3n], devices: [device] }] }]);
  t.strictSame(allocatableNow.cpuIds, [2n, 3n]);
});

t.test('where nothing is placed and the kubelet is away, no answer says that there are no pods', async (t) => {
  const { client, kubelet } = await bench(t, { shown: undefined });
  for (const ask of [() => list(client), () => allocatable(client), () => get(client, 'a')]) {
    const error = await ask().catch((thrown: unknown) => thrown);
    t.ok(isServiceError(error, status.UNAVAILABLE));
    t.match(error, { details: /the kubelet does not answer on .*kubelet\.sock: .*ENOENT/ });
  }
  const { list: listAlone } = podResourcesHandlers({ snapshot: undefined, kubelet: undefined, reservedMemory: 0 });
  const { signal } = new AbortController();
  await t.rejects(listAlone(create(ListPodResourcesRequestSchema), { signal }), { code: 'PRECONDITION' });
  t.match(podResourcesLine(kubelet), { level: 'warning' });
});

t.test('where nothing is placed the kubelet speaks alone', async (t) => {
  const { client, startKubelet } = await bench(t, { shown: undefined });
  await startKubelet(answering);
  await pollUntil('the answer', PATIENT_MS, async () => {
    const listed = await list(client).catch((error: unknown) => error);
    if (isServiceError(listed, status.UNAVAILABLE)) return undefined;
    t.match(listed, { podResources: pods });
    return true;
  });
});

t.test('one pod by its name', async (t) => {
  const { client } = await bench(t);
  t.match(await get(client, 'a'), { podResources: ours[0] });
  const error = await get(client, 'x'.repeat(1_000_000)).catch((thrown: unknown) => thrown);
  t.ok(isServiceError(error, status.NOT_FOUND));
  t.ok(isServiceError(error) && error.details.length < 1000, 'a long name is not given back');
});
