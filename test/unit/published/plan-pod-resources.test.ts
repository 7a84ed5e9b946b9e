// What the podresources API says, from the published messages and the kubelet's own answer.
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { planAllocatableResources, planPodResources } from '../../../agent/published/plan-pod-resources.ts';
import {
  HostTopologySchema,
  ListAllocationsResponseSchema,
  type PodAllocationSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import {
  AllocatableResourcesResponseSchema,
  type ListPodResourcesResponse,
  ListPodResourcesResponseSchema,
} from '../../../proto/gen/wire/podresources/v1/podresources_pb.ts';

const GIB = 1024n ** 3n;
const MIB = 1024n ** 2n;

const allocationsOf = (...pods: readonly MessageInitShape<typeof PodAllocationSchema>[]) =>
  create(ListAllocationsResponseSchema, { pods: [...pods] });

const db = {
  uid: 'u1',
  namespace: 'prod',
  name: 'db-0',
  numa: 'required',
  numaNodes: '1',
  memoryBytes: 4n * GIB,
  containers: [
    { name: 'log', cpuset: 'shared', cpus: '0-1,8', mems: '' },
    { name: 'main', cpuset: 'exclusive', cpus: '2-3,9', mems: '1' },
  ],
  nodeShares: [{ node: 1, memoryBytes: 4n * GIB, hugepages: [{ pageSizeBytes: 2n * MIB, bytes: 64n * MIB }] }],
};

/** By container: how much of each there is. A pattern with an empty list would match any. */
const countsOf = ({ podResources }: ListPodResourcesResponse) =>
  podResources.flatMap(({ name: pod, containers }) =>
    containers.map(({ name, cpuIds, memory, devices: own }) => [
      `${pod}/${name}`,
      cpuIds.length,
      memory.length,
      own.length,
    ]),
  );

const devices = [{ resourceName: 'example.com/nic', deviceIds: ['a', 'b'], topology: { nodes: [{ ID: 1n }] } }];

t.test('exclusive CPUs and memory by NUMA node, without a kubelet', async (t) => {
  const planned = planPodResources(allocationsOf(db), undefined);
  t.strictSame(countsOf(planned), [
    ['db-0/log', 0, 0, 0],
    ['db-0/main', 3, 2, 0],
  ]);
  t.match(planned.podResources, [
    {
      namespace: 'prod',
      name: 'db-0',
      containers: [
        { name: 'log' },
        {
          name: 'main',
          cpuIds: [2n, 3n, 9n],
          memory: [
            { memoryType: 'memory', size: 4n * GIB, topology: { nodes: [{ ID: 1n }] } },
            { memoryType: 'hugepages-2Mi', size: 64n * MIB, topology: { nodes: [{ ID: 1n }] } },
          ],
        },
      ],
    },
  ]);
});

t.test("the kubelet's devices are merged in, its CPUs and memory are not", async (t) => {
  const kubelet = create(ListPodResourcesResponseSchema, {
    podResources: [
      {
        namespace: 'prod',
        name: 'db-0',
        containers: [{ name: 'main', devices, cpuIds: [0n], memory: [{ memoryType: 'memory', size: 1n }] }],
      },
      { namespace: 'prod', name: 'unseen', containers: [{ name: 'app', devices, cpuIds: [5n] }] },
    ],
  });
  const before = toBinary(ListPodResourcesResponseSchema, kubelet);
  const planned = planPodResources(allocationsOf(db), kubelet);
  t.strictSame(
    countsOf(planned),
    [
      ['db-0/main', 3, 2, 1],
      ['unseen/app', 0, 0, 1],
    ],
    'the containers are those that the kubelet shows',
  );
  t.match(planned.podResources, [
    { name: 'db-0', containers: [{ name: 'main', devices, cpuIds: [2n, 3n, 9n], memory: [{ size: 4n * GIB }, {}] }] },
    { name: 'unseen', containers: [{ name: 'app', devices }] },
  ]);
  t.strictSame(toBinary(ListPodResourcesResponseSchema, kubelet), before, 'its answer is shared and stays as it was');
});

t.test('an init container, which the kubelet does not name, is added while it owns CPUs of its own', async (t) => {
  const kubelet = create(ListPodResourcesResponseSchema, {
    podResources: [{ namespace: 'prod', name: 'db-0', containers: [{ name: 'main', devices }] }],
  });
  const init = { name: 'init', cpuset: 'exclusive', cpus: '2-5', mems: '1' };
  const cpusIn = (containers: typeof db.containers) =>
    planPodResources(allocationsOf({ ...db, containers }), kubelet).podResources[0]?.containers.map((each) => [
      each.name,
      each.cpuIds.map(Number),
    ]);
  t.strictSame(
    cpusIn([init]),
    [
      ['main', []],
      ['init', [2, 3, 4, 5]],
    ],
    'it runs first',
  );
  t.strictSame(
    cpusIn([init, { ...init, name: 'main', cpus: '2-3' }]),
    [
      ['main', [2, 3]],
      ['init', [2, 3, 4, 5]],
    ],
    "what only it had is still the pod's",
  );
  t.strictSame(cpusIn([init, { ...init, name: 'main' }]), [['main', [2, 3, 4, 5]]], 'the next one has the same CPUs');
  t.strictSame(cpusIn([{ ...init, cpuset: 'shared' }]), [['main', []]], "shared CPUs are nobody's");
});

t.test('fields of newer kubelets pass through', async (t) => {
  // ContainerResources.dynamic_resources = 5, a message that is not declared here.
  const container = Uint8Array.from([0x0a, 4, ...Buffer.from('main'), 0x2a, 2, 0x0a, 0]);
  const pod = [0x0a, 4, ...Buffer.from('db-0'), 0x12, 4, ...Buffer.from('prod'), 0x1a, container.length, ...container];
  const kubelet = fromBinary(ListPodResourcesResponseSchema, Uint8Array.from([0x0a, pod.length, ...pod]));
  const wire = Buffer.from(toBinary(ListPodResourcesResponseSchema, planPodResources(allocationsOf(db), kubelet)));
  t.ok(wire.includes(Buffer.from([0x2a, 2, 0x0a, 0])));
});

t.test('of two pods of one name the later one has the devices', async (t) => {
  const kubelet = create(ListPodResourcesResponseSchema, {
    podResources: [{ namespace: 'prod', name: 'db-0', containers: [{ name: 'main', devices }] }],
  });
  const again = { ...db, uid: 'u2', containers: [{ name: 'main', cpuset: 'exclusive', cpus: '4', mems: '0' }] };
  const planned = planPodResources(allocationsOf(db, again), kubelet);
  t.strictSame(
    countsOf(planned).map(([name, cpus, , own]) => [name, cpus, own]),
    [
      ['db-0/log', 0, 0],
      ['db-0/main', 3, 0],
      ['db-0/main', 1, 1],
    ],
  );
  t.match(planned.podResources, [
    { containers: [{ name: 'log' }, { name: 'main', cpuIds: [2n, 3n, 9n] }] },
    { containers: [{ name: 'main', cpuIds: [4n], devices }] },
  ]);
});

t.test('memory that no container is bound to is with the first one', async (t) => {
  const pod = { ...db, containers: [{ name: 'app', cpuset: 'shared', cpus: '0', mems: '' }, { name: 'other' }] };
  t.strictSame(countsOf(planPodResources(allocationsOf(pod), undefined)), [
    ['db-0/app', 0, 2, 0],
    ['db-0/other', 0, 0, 0],
  ]);
});

t.test('what can be assigned at all', async (t) => {
  const topology = create(HostTopologySchema, {
    numaNodes: [
      {
        id: 0,
        memoryBytes: 8n * GIB,
        memoryAvailableBytes: 7n * GIB,
        allocatableCpus: '1-3',
        hugepages: [
          { pageSizeBytes: GIB, total: 2n, free: 0n },
          { pageSizeBytes: 2n * MIB, total: 0n },
        ],
      },
      { id: 4, memoryBytes: GIB / 2n, allocatableCpus: '5' },
      // Its memory is not the agent's to hand out.
      { id: 5, memoryBytes: 8n * GIB, hugepages: [{ pageSizeBytes: GIB, total: 2n, free: 2n }] },
    ],
  });
  const kubelet = create(AllocatableResourcesResponseSchema, { devices, cpuIds: [0n, 1n], memory: [{ size: 1n }] });
  const planned = planAllocatableResources({ topology, allocations: allocationsOf() }, GIB, kubelet);
  t.match(planned, { devices, cpuIds: [1n, 2n, 3n, 5n] });
  t.match(
    planned.memory.map(({ memoryType, size, topology }) => [memoryType, size, topology?.nodes.map(({ ID }) => ID)]),
    [
      ['memory', 7n * GIB, [0n]],
      ['hugepages-1Gi', 2n * GIB, [0n]],
    ],
    'a node with nothing beyond the reserve has none, and so have a size without pages and a node of others',
  );
});
