// Whatever is allocated and freed, in any order: all that tells of it tells the same.
import assert from 'node:assert/strict';
import { create, equals } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { createTopologyView } from '../../../agent/api/topology-view.ts';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { planPod } from '../../../agent/cpuset/plan-pod.ts';
import { allocationView, listAllocations } from '../../../agent/cpuset/view.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../../agent/model/host-topology.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { type ContainerPolicy, DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import { bytes } from '../../../agent/model/quantity.ts';
import { planNodeResourceTopology, type Zone } from '../../../agent/published/plan-node-resource-topology.ts';
import { podFingerprint } from '../../../agent/published/plan-pod-fingerprint.ts';
import { planAllocatableResources, planPodResources } from '../../../agent/published/plan-pod-resources.ts';
import type { Snapshot } from '../../../agent/published/snapshot.ts';
import { publishTopology } from '../../../agent/topology/publish.ts';
import { Changes } from '../../../lib/changes.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import {
  HostTopologySchema,
  type ListAllocationsResponse,
  ListAllocationsResponseSchema,
  type NodeShare,
  type PodAllocation,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import {
  type ListPodResourcesResponse,
  ListPodResourcesResponseSchema,
} from '../../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed } from '../../support/cpuset-node.ts';
import { evenHost, GIB, randomHost } from '../../support/hand-made-hosts.ts';
import { holds, holdsAsync } from '../../support/properties.ts';

const MIB = 1024 ** 2;
const PAGE = 2 * MIB;
const APPS = ['c0', 'c1', 'c2'] as const;

interface Ask {
  readonly policy: Pick<ContainerPolicy, 'cpuset' | 'numa'>;
  /** The pod's first container runs before the others, and no kubelet names it. */
  readonly hasInit: boolean;
  readonly containers: readonly { readonly cpus: number; readonly memory: number; readonly pages: number }[];
}

const ask: fc.Arbitrary<Ask> = fc.record({
  policy: fc.record({
    cpuset: fc.constantFrom('shared' as const, 'exclusive' as const),
    numa: fc.constantFrom('none' as const, 'preferred' as const, 'required' as const),
  }),
  hasInit: fc.boolean(),
  containers: fc.array(
    fc.record({
      cpus: fc.integer({ min: 1, max: 3 }),
      memory: fc.constantFrom(0, GIB / 4, GIB),
      pages: fc.constantFrom(0, 0, 2),
    }),
    { minLength: 1, maxLength: 3 },
  ),
});

/** A number frees the pod of that operation, when it is there. */
const operations = fc.array(fc.oneof({ weight: 3, arbitrary: ask }, { weight: 1, arbitrary: fc.nat({ max: 8 }) }), {
  minLength: 1,
  maxLength: 10,
});

const reservedMemoryBytes = BigInt(GIB / 2);
const cpusOf = (list: string): CpuSet => CpuSet.parse(list);
const resourceOf = (zone: Zone | undefined, name: string) => zone?.resources.find((each) => each.name === name);

const nameOf = (index: number, { hasInit }: Pick<Ask, 'hasInit'>): string =>
  hasInit && index === 0 ? 'init' : `c${index}`;

/** A kubelet names every pod with its app containers, whether they were made or not. */
function kubeletOf({ pods }: ListAllocationsResponse): ListPodResourcesResponse {
  const containers = APPS.map((name) => ({ name }));
  return create(ListPodResourcesResponseSchema, {
    podResources: pods.map(({ namespace, name }) => ({ namespace, name, containers })),
  });
}

/** Another host with a CPU that no node claims, and a node whose memory is not the agent's to hand out. */
function withOddities(topology: HostTopology, isOdd: boolean): HostTopology {
  if (!isOdd) return topology;
  const id = Math.max(...topology.cpus.map((cpu) => cpu.id)) + 50;
  const homeless = { id, core: id, die: -1, socket: -1, numaNode: -1, l3: -1, online: true };
  const usableMems = CpuSet.from([...topology.usableMems].slice(1));
  const usableCpus = topology.usableCpus.union(CpuSet.of(id));
  return { ...topology, cpus: [...topology.cpus, homeless], usableCpus, usableMems };
}

/**
 * What must hold between the messages and what is derived from them, whoever made them.
 * @param kubelet - its answer, when it gives one
 */
function checkStory(snapshot: Snapshot, reserve: bigint, kubelet?: ListPodResourcesResponse): CpuSet {
  const { topology: host, allocations } = snapshot;
  const nrt = planNodeResourceTopology(snapshot, { policy: 'none', reservedMemoryBytes: reserve, nodeUid: 'u' });
  const { podResources } = planPodResources(allocations, kubelet);
  const allocatable = planAllocatableResources(snapshot, reserve, undefined);
  assert.equal(host.version, allocations.version);
  assert.equal(
    nrt.attributes.find(({ name }) => name === 'nodeTopologyPodsFingerprint')?.value,
    podFingerprint(snapshot.runningPods ?? allocations.pods),
  );
  const owned = CpuSet.from(
    podResources.flatMap(({ containers }) => containers.flatMap(({ cpuIds }) => cpuIds.map(Number))),
  );
  for (const node of host.numaNodes) {
    const mayBeOwned = cpusOf(node.allocatableCpus);
    assert.equal(
      cpusOf(node.freeCpus).toString(),
      mayBeOwned.minus(owned).toString(),
      `node ${node.id}: what podresources say is owned is what GetTopology says is not free`,
    );
    assert.ok(!cpusOf(node.sharedCpus).overlaps(owned));
    const zone = nrt.zones.find(({ name }) => name === `node-${node.id}`);
    for (const { name, capacity, allocatable: most, available } of zone?.resources ?? []) {
      assert.ok(BigInt(available) <= BigInt(most) && BigInt(most) <= BigInt(capacity), `${name} on ${node.id}`);
    }
    assert.equal(resourceOf(zone, 'cpu')?.allocatable, String(mayBeOwned.size));
    assert.ok(Number(resourceOf(zone, 'cpu')?.available) <= cpusOf(node.freeCpus).size);
    assert.equal(resourceOf(zone, 'memory')?.available, String(node.memoryAvailableBytes));
    const blocks = podResources.flatMap(({ containers }) => containers.flatMap(({ memory }) => memory));
    const here = (type: string) =>
      blocks
        .filter(({ memoryType, topology }) => memoryType === type && Number(topology?.nodes[0]?.ID) === node.id)
        .reduce((sum, { size }) => sum + size, 0n);
    const promisedTo = (pods: readonly PodAllocation[], of: (share: NodeShare) => bigint): bigint =>
      pods
        .flatMap(({ nodeShares }) => nodeShares)
        .filter((share) => share.node === node.id)
        .reduce((sum, share) => sum + of(share), 0n);
    const pagesOf = ({ hugepages }: NodeShare): bigint => hugepages.reduce((sum, each) => sum + each.bytes, 0n);
    // In podresources it is a container that has memory: a pod without any yet has none there.
    const named = new Set(kubelet?.podResources.map(({ name }) => name));
    const withContainers = allocations.pods.filter(({ name, containers }) => named.has(name) || containers.length > 0);
    assert.equal(
      here('memory'),
      promisedTo(withContainers, ({ memoryBytes }) => memoryBytes),
    );
    assert.equal(here('hugepages-2Mi'), promisedTo(withContainers, pagesOf));
    const promised = promisedTo(allocations.pods, ({ memoryBytes }) => memoryBytes);
    assert.ok(BigInt(resourceOf(zone, 'memory')?.allocatable ?? 0) >= promised + node.memoryAvailableBytes);
    const pages = resourceOf(zone, 'hugepages-2Mi');
    const taken = BigInt(pages?.allocatable ?? 0) - BigInt(pages?.available ?? 0);
    if (pages !== undefined) assert.equal(taken, promisedTo(allocations.pods, pagesOf));
  }
  const sums = allocations.pods.map((pod) => pod.nodeShares.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0n));
  assert.deepEqual(
    allocations.pods.map(({ memoryBytes }) => memoryBytes),
    sums,
  );
  assert.equal(
    CpuSet.from(allocatable.cpuIds.map(Number)).toString(),
    host.numaNodes.reduce((all, node) => all.union(cpusOf(node.allocatableCpus)), CpuSet.EMPTY).toString(),
  );
  return owned;
}

/** What is not the agent's to hand out is announced nowhere. */
function checkClosed(snapshot: Snapshot, id: number): void {
  const { zones } = planNodeResourceTopology(snapshot, { policy: 'none', reservedMemoryBytes: 0n, nodeUid: 'u' });
  const memory = zones.find(({ name }) => name === `node-${id}`)?.resources.filter(({ name }) => name !== 'cpu') ?? [];
  for (const { allocatable, available } of memory) assert.deepEqual([allocatable, available], ['0', '0']);
  const blocks = planAllocatableResources(snapshot, 0n, undefined).memory;
  assert.ok(!blocks.some(({ topology }) => topology?.nodes.some(({ ID }) => Number(ID) === id)));
}

await t.test('the messages, podresources and the object say what the planner would still give', async (t) => {
  const rules = fc.record({
    strategy: fc.constantFrom('spread' as const, 'pack' as const),
    unboundMemory: fc.constantFrom('proportional' as const, 'ignore' as const),
  });
  const property = fc.property(randomHost, fc.boolean(), rules, operations, (host, isOdd, rule, list) => {
    const { reserved } = host;
    const topology = withOddities(host.topology, isOdd);
    const machine = buildMachine(topology, reserved);
    const ledger = new Ledger(machine, { ...rule, reservedMemory: Number(reservedMemoryBytes) });
    const snapshot = (version: bigint): Snapshot => ({
      topology: publishTopology(topology, allocationView(ledger), { version, nodeName: 'n' }),
      allocations: create(ListAllocationsResponseSchema, { ...listAllocations(ledger, []), version }),
      usableMems: topology.usableMems,
    });
    const before = snapshot(0n);
    list.forEach((operation, index) => {
      if (typeof operation === 'number') ledger.delete(podUid(`p${operation}`));
      else {
        const { cpuset, numa } = operation.policy;
        const containers = operation.containers.map(({ cpus, memory, pages }, at) => ({
          name: nameOf(at, operation),
          kind: nameOf(at, operation) === 'init' ? ('init' as const) : ('app' as const),
          cpuset,
          numa,
          numaScope: 'pod' as const,
          need: {
            exclusive: cpuset === 'exclusive' ? cpus : 0,
            milli: cpuset === 'shared' ? cpus * 400 : 0,
            shared: cpuset === 'shared',
            memory,
            hugepages: new Map(pages === 0 ? [] : [[PAGE, pages * PAGE]]),
          },
        }));
        const identity = { uid: podUid(`p${index}`), namespace: 'default', name: `p${index}`, numa };
        const made = planPod(ledger.room, identity, { basis: 'spec', containers });
        if (made.ok) ledger.set(made.holding);
      }
      const now = snapshot(BigInt(index));
      const owned = checkStory(now, reservedMemoryBytes);
      assert.ok(checkStory(now, reservedMemoryBytes, kubeletOf(now.allocations)).equals(owned));
      for (const { id } of topology.numaNodes.filter((each) => !topology.usableMems.has(each.id))) {
        checkClosed(now, id);
      }
      const { zones } = planNodeResourceTopology(now, { policy: 'none', reservedMemoryBytes, nodeUid: 'u' });
      machine.nodes.forEach(({ id }, position) => {
        const { room } = ledger;
        const zone = zones.find(({ name }) => name === `node-${id}`);
        const most = Math.max(0, room.poolSize - 1);
        assert.equal(Number(resourceOf(zone, 'cpu')?.available), Math.min(room.takableOn(position), most));
        assert.equal(Number(resourceOf(zone, 'memory')?.available), room.memoryLeftOn(position));
        const pages = resourceOf(zone, 'hugepages-2Mi');
        if (pages !== undefined) assert.equal(Number(pages.available), room.hugepagesLeftOn(position, PAGE));
      });
    });
    for (const { uid } of ledger.holdings()) ledger.delete(uid);
    const after = snapshot(0n);
    assert.ok(equals(HostTopologySchema, after.topology, before.topology), 'nothing is left of what was freed');
    assert.ok(equals(ListAllocationsResponseSchema, after.allocations, before.allocations));
  });
  holds(t, 'planner', property, 200);
});

await t.test('what the running feature answers and what it counts are the same story', async (t) => {
  const hosts = fc.record({
    nodes: fc.integer({ min: 1, max: 3 }),
    cores: fc.integer({ min: 1, max: 4 }),
    threads: fc.integer({ min: 1, max: 2 }),
  });
  let runs = 0;
  const folder = t.testdir();
  const property = fc.asyncProperty(hosts, operations, async ({ nodes, cores, threads }, list) => {
    runs += 1;
    const topology = evenHost(nodes, cores, threads, { memoryBytes: 4 * GIB, hugepages: 8 });
    const changes = new Changes();
    const onChange = (): void => changes.announce();
    const node = new CpusetNode({ host: cgroupFiles(`${folder}/${runs}`), topology, onChange });
    await node.start();
    const view = createTopologyView({ nodeName: 'n', topology, placing: node.feature, changes });
    const gauge = async (name: string): Promise<number | undefined> =>
      (await node.registry.getSingleMetric(name)?.get())?.values[0]?.value;
    try {
      for (const [index, operation] of list.entries()) {
        if (typeof operation === 'number') await node.endPod(`p${operation}`);
        else await runPod(node, `p${index}`, operation);
        const snapshot = view.snapshot();
        const owned = checkStory(snapshot, 0n);
        assert.ok(checkStory(snapshot, 0n, kubeletOf(snapshot.allocations)).equals(owned));
        assert.equal(await gauge('holdfast_cpuset_exclusive_cpus'), owned.size);
        const shared = snapshot.topology.numaNodes.reduce((sum, { sharedCpus }) => sum + cpusOf(sharedCpus).size, 0);
        assert.equal(await gauge('holdfast_cpuset_shared_cpus'), shared);
      }
    } finally {
      await node.feature.close();
    }
  });
  await holdsAsync(t, 'feature', property, 60);
});

/** All steps of the pod and its containers; a pod that is refused is not there. */
async function runPod(node: CpusetNode, uid: string, ask: Ask): Promise<void> {
  const { policy, containers } = ask;
  const spec = containers.map(({ cpus, memory, pages }, index) => {
    const hugepages = new Map(pages === 0 ? [] : [[bytes(PAGE), bytes(pages * PAGE)]]);
    const name = nameOf(index, ask);
    return { name, kind: name === 'init' ? ('init' as const) : ('app' as const), ...makeNeed(cpus, memory), hugepages };
  });
  try {
    await node.runPod({ uid, policy: { ...DEFAULT_POLICY, ...policy }, spec });
  } catch (error) {
    assert.ok(error instanceof HoldfastError && error.code === 'NO_ROOM', String(error));
    return;
  }
  for (const { name, ...need } of spec) await node.run(uid, name, need);
}
