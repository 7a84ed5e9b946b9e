// The NodeResourceTopology object, from the published messages.
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { planNodeResourceTopology, policyFor } from '../../../agent/published/plan-node-resource-topology.ts';
import { podFingerprint } from '../../../agent/published/plan-pod-fingerprint.ts';
import type { Snapshot } from '../../../agent/published/snapshot.ts';
import {
  HostTopologySchema,
  ListAllocationsResponseSchema,
  type NumaNodeSchema,
  type PodAllocationSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';

const GIB = 1024n ** 3n;
const MIB = 1024n ** 2n;
const OPTIONS = { policy: 'single-numa-node', reservedMemoryBytes: 0n, nodeUid: 'uid-1' } as const;

type Node = MessageInitShape<typeof NumaNodeSchema>;

const DB: MessageInitShape<typeof PodAllocationSchema> = {
  namespace: 'prod',
  name: 'db',
  containers: [{ name: 'main', cpuset: 'exclusive', cpus: '2-3' }],
};

const snapshotOf = (numaNodes: readonly Node[]) => ({
  topology: create(HostTopologySchema, { nodeName: 'worker-1', numaNodes: [...numaNodes] }),
  allocations: create(ListAllocationsResponseSchema, { pods: [DB] }),
});

const NODE: Node = {
  id: 0,
  cpus: '0-7',
  allocatableCpus: '2-7',
  freeCpus: '4-7',
  sharedCpus: '0-1,4-7',
  memoryBytes: 16n * GIB,
  memoryAvailableBytes: 10n * GIB,
  distances: [
    { node: 0, value: 10 },
    { node: 1, value: 21 },
  ],
};

const cpuOf = (nodes: readonly Node[]) =>
  planNodeResourceTopology(snapshotOf(nodes), OPTIONS).zones[0]?.resources[0]?.available;

t.test('one object with a zone per NUMA node', async (t) => {
  const hugepages = [
    { pageSizeBytes: 2n * MIB, total: 512n, free: 3n, availableBytes: GIB - 24n * MIB },
    { pageSizeBytes: GIB, total: 0n },
  ];
  const snapshot = snapshotOf([
    { ...NODE, hugepages },
    { ...NODE, id: 1, distances: [] },
  ]);
  t.strictSame(planNodeResourceTopology(snapshot, { ...OPTIONS, reservedMemoryBytes: GIB }), {
    apiVersion: 'topology.node.k8s.io/v1alpha2',
    kind: 'NodeResourceTopology',
    metadata: {
      name: 'worker-1',
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'worker-1', uid: 'uid-1' }],
    },
    topologyPolicies: ['SingleNUMANodePodLevel'],
    attributes: [
      { name: 'topologyManagerPolicy', value: 'single-numa-node' },
      { name: 'topologyManagerScope', value: 'pod' },
      { name: 'nodeTopologyPodsFingerprint', value: podFingerprint([{ namespace: 'prod', name: 'db' }]) },
      { name: 'nodeTopologyPodsFingerprintMethod', value: 'all' },
    ],
    zones: [
      {
        name: 'node-0',
        type: 'Node',
        costs: [
          { name: 'node-0', value: 10 },
          { name: 'node-1', value: 21 },
        ],
        resources: [
          { name: 'cpu', capacity: '8', allocatable: '6', available: '4' },
          { name: 'memory', capacity: `${16n * GIB}`, allocatable: `${15n * GIB}`, available: `${10n * GIB}` },
          { name: 'hugepages-2Mi', capacity: `${GIB}`, allocatable: `${GIB}`, available: `${1000n * MIB}` },
        ],
      },
      {
        name: 'node-1',
        type: 'Node',
        costs: [],
        resources: [
          { name: 'cpu', capacity: '8', allocatable: '6', available: '4' },
          { name: 'memory', capacity: `${16n * GIB}`, allocatable: `${15n * GIB}`, available: `${10n * GIB}` },
        ],
      },
    ],
  });
});

t.test('shared containers that are bound to a node keep their CPUs', async (t) => {
  const bound = (boundSharedMillis: bigint): Node => ({ ...NODE, boundShared: 1, boundSharedMillis });
  t.equal(cpuOf([bound(0n)]), '4', 'the reserved ones are enough');
  t.equal(cpuOf([bound(2500n)]), '3');
  t.equal(cpuOf([bound(99_000n)]), '0');
  t.equal(cpuOf([{ ...bound(0n), sharedCpus: '4-7' }, NODE]), '3', 'one at the least');
});

t.test('some CPU of the host stays shared', async (t) => {
  const whole: Node = { ...NODE, allocatableCpus: '0-7', freeCpus: '0-7', sharedCpus: '0-7' };
  t.equal(cpuOf([whole]), '7');
  t.equal(cpuOf([whole, { ...whole, id: 1 }]), '8', 'another node has one');
});

t.test('a CPU that no node claims may be the one that stays shared', async (t) => {
  const whole: Node = { ...NODE, allocatableCpus: '0-7', freeCpus: '0-7', sharedCpus: '0-7' };
  const availableWith = (online: boolean) => {
    const snapshot = snapshotOf([whole]);
    const own = Array.from({ length: 8 }, (_, id) => ({ id, online: true, numaNode: 0 }));
    snapshot.topology.cpus = create(HostTopologySchema, { cpus: [...own, { id: 8, online, numaNode: -1 }] }).cpus;
    return planNodeResourceTopology(snapshot, OPTIONS).zones[0]?.resources[0]?.available;
  };
  t.equal(availableWith(true), '8');
  t.equal(availableWith(false), '7', 'nothing runs on one that is offline');
});

t.test(
  'the fingerprint is over the pods that run: not one that waits for its image, but one that will restart',
  async (t) => {
    const snapshot = snapshotOf([NODE]);
    const fingerprintOf = (of: Snapshot) =>
      planNodeResourceTopology(of, OPTIONS).attributes.find(({ name }) => name === 'nodeTopologyPodsFingerprint')
        ?.value;
    const pulling = { namespace: 'prod', name: 'pulling', numaNodes: '0', nodeShares: [{ node: 0, memoryBytes: GIB }] };
    const allocations = create(ListAllocationsResponseSchema, { pods: [DB, pulling] });
    const runningPods = [
      { namespace: 'prod', name: 'db' },
      { namespace: 'prod', name: 'crashing' },
    ];
    t.equal(fingerprintOf({ ...snapshot, allocations, runningPods }), podFingerprint(runningPods));
    t.equal(fingerprintOf({ ...snapshot, allocations }), podFingerprint(allocations.pods), 'nobody told which run');
  },
);

t.test('of a node whose memory is not to be handed out nothing is allocatable', async (t) => {
  const hugepages = [{ pageSizeBytes: 2n * MIB, total: 512n, free: 512n }];
  const closed: Node = { ...NODE, memoryAvailableBytes: 0n, hugepages };
  const snapshot = snapshotOf([closed]);
  const none = [{ name: 'cpu' }, { name: 'memory', allocatable: '0' }, { name: 'hugepages-2Mi', allocatable: '0' }];
  const planned = (usableMems: CpuSet) =>
    planNodeResourceTopology({ ...snapshot, usableMems }, OPTIONS).zones[0]?.resources;
  t.match(planned(CpuSet.EMPTY), none);
  t.match(planned(CpuSet.EMPTY), [{}, { capacity: `${16n * GIB}` }, { capacity: `${GIB}` }], 'though it is there');
  const full = [{}, { allocatable: `${16n * GIB}`, available: '0' }, { allocatable: `${GIB}`, available: '0' }];
  t.match(planned(CpuSet.of(0)), full, 'one whose last byte was promised is another thing');
});

t.test('nodes that scheduler-plugins have no room for are left out', async (t) => {
  const distances = [63, 64].map((node) => ({ node, value: 10 }));
  const { zones } = planNodeResourceTopology(
    snapshotOf([
      { ...NODE, id: 63, distances },
      { ...NODE, id: 64, distances },
    ]),
    OPTIONS,
  );
  t.match(zones, [{ name: 'node-63', costs: [{ name: 'node-63', value: 10 }] }]);
  t.equal(zones.length, 1);
  t.equal(zones[0]?.costs.length, 1);
});

t.test('more than eight nodes are said to be more', async (t) => {
  const many = Array.from({ length: 9 }, (_, id) => ({ ...NODE, id }));
  const named = (nodes: readonly Node[]) =>
    planNodeResourceTopology(snapshotOf(nodes), OPTIONS).attributes.find(({ name }) => name.endsWith('MaxNUMANodes'));
  t.strictSame(named(many), { name: 'topologyManagerMaxNUMANodes', value: '9' });
  t.equal(named(many.slice(1)), undefined);
});

t.test('nothing is below nothing', async (t) => {
  const empty = { freeCpus: '', sharedCpus: '0', memoryBytes: GIB, memoryAvailableBytes: 0n };
  const snapshot = snapshotOf([{ ...NODE, ...empty, boundShared: 1, boundSharedMillis: 5000n }]);
  const planned = planNodeResourceTopology(snapshot, { ...OPTIONS, reservedMemoryBytes: 2n * GIB });
  t.match(planned.zones[0]?.resources, [{ available: '0' }, { allocatable: '0', available: '0' }]);
});

t.test('the policy is what the default of the node comes to', async (t) => {
  t.equal(policyFor('required'), 'single-numa-node');
  t.equal(policyFor('preferred'), 'best-effort');
  t.equal(policyFor('none'), 'none');
  t.equal(policyFor(undefined), 'none');
});
