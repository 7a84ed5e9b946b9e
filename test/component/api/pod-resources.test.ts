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

const snapshot = () => ({
  topology: create(HostTopologySchema, { numaNodes: [{ id: 0, memoryBytes: 4096n, allocatableCpus: '0-3' }] }),
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

interface Bench {
  readonly client: Client;
  readonly kubelet: ReturnType<typeof openKubeletPodResources>;
  readonly log: readonly string[];
  readonly startKubelet: (handlers: Handlers<typeof PodResourcesLister>) => Promise<() => Promise<void>>;
}

async function bench(t: Test, places = true): Promise<Bench> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'holdfast-podresources-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const socket = path.join(directory, 'kubelet.sock');
  const log: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(line) });
  const kubelet = openKubeletPodResources({ socket, metrics: new Registry(), logger });
  t.teardown(() => kubelet.close());
  const handlers = podResourcesHandlers({ snapshot: places ? snapshot : undefined, kubelet, reservedMemory: 0 });
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
const devicesIn = ({ podResources }: ListPodResourcesResponse): number =>
  podResources.reduce((sum, { containers }) => sum + (containers[0]?.devices.length ?? 0), 0);
const ours = [{ namespace: 'default', name: 'a', containers: [{ name: 'app', cpuIds: [1n] }] }];
const merged = [{ ...ours[0], containers: [{ name: 'app', cpuIds: [1n], devices: [device] }] }];

t.test("our CPUs and the kubelet's devices in one answer", async (t) => {
  const { client, kubelet, startKubelet } = await bench(t);
  t.match(podResourcesLine(kubelet), { level: 'ok' });
  await startKubelet(answering);
  t.match((await list(client)).podResources, merged);
  const request = create(AllocatableResourcesRequestSchema);
  const { getAllocatableResources } = PodResourcesLister.method;
  const allocatable = await callUnary(client, getAllocatableResources, request, { timeoutMs: PATIENT_MS });
  t.match(allocatable, {
    cpuIds: [0n, 1n, 2n, 3n],
    devices: [device],
    memory: [{ memoryType: 'memory', size: 4096n }],
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

t.test('where nothing is placed the kubelet speaks alone', async (t) => {
  const { client, startKubelet } = await bench(t, false);
  t.strictSame((await list(client)).podResources, []);
  await startKubelet(answering);
  await pollUntil('the answer', PATIENT_MS, async () => {
    const { podResources } = await list(client);
    if (podResources.length === 0) return undefined;
    t.match(podResources, pods);
    return true;
  });
});

t.test('one pod by its name', async (t) => {
  const { client } = await bench(t);
  const get = (podName: string) => {
    const request = create(GetPodResourcesRequestSchema, { podNamespace: 'default', podName });
    return callUnary(client, PodResourcesLister.method.get, request, { timeoutMs: PATIENT_MS });
  };
  t.match(await get('a'), { podResources: ours[0] });
  const error = await get('x'.repeat(1_000_000)).catch((thrown: unknown) => thrown);
  t.ok(isServiceError(error, status.NOT_FOUND));
  t.ok(isServiceError(error) && error.details.length < 1000, 'a long name is not given back');
});
