// The NodeResourceTopology object of this node (topology.node.k8s.io/v1alpha2), as scheduler-plugins read it. Pure.
// Sources: github.com/k8stopologyawareschedwg/noderesourcetopology-api and sigs.k8s.io/scheduler-plugins,
// pkg/noderesourcetopology.
import type { HostTopology, NumaNode } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { podFingerprint } from './plan-pod-fingerprint.ts';
import { type Promisable, planPromisable } from './plan-promisable.ts';
import { hugepagesName } from './resource-names.ts';
import type { Snapshot } from './snapshot.ts';

export const NRT_API_VERSION = 'topology.node.k8s.io/v1alpha2';
export const NRT_KIND = 'NodeResourceTopology';

/** As the kubelet's topology manager calls them; scheduler-plugins filter by `single-numa-node` only. */
export type TopologyPolicy = 'none' | 'best-effort' | 'restricted' | 'single-numa-node';

interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** Amounts are quantities of Kubernetes: whole CPUs, bytes. */
export interface ZoneResource {
  readonly name: string;
  readonly capacity: string;
  readonly allocatable: string;
  readonly available: string;
}

export interface Zone {
  readonly name: string;
  readonly type: 'Node';
  readonly costs: readonly { readonly name: string; readonly value: number }[];
  readonly resources: readonly ZoneResource[];
}

export interface NodeResourceTopology {
  readonly apiVersion: typeof NRT_API_VERSION;
  readonly kind: typeof NRT_KIND;
  readonly metadata: {
    readonly name: string;
    readonly ownerReferences: readonly {
      readonly apiVersion: 'v1';
      readonly kind: 'Node';
      readonly name: string;
      readonly uid: string;
    }[];
  };
  readonly topologyPolicies: readonly string[];
  readonly attributes: readonly NamedValue[];
  readonly zones: readonly Zone[];
}

export interface NodeResourceTopologyOptions {
  readonly policy: TopologyPolicy;
  /** Bytes of every NUMA node that no pod is promised. */
  readonly reservedMemoryBytes: bigint;
  /** UID of the Node, which owns the object. */
  readonly nodeUid: string;
}

/** scheduler-plugins keep nodes in arrays of this length; a larger number would crash them. */
const MOST_NODES = 64;
/** Beyond this many they need to be told how many there are. */
const DEFAULT_MAX_NODES = 8;

/** The older way to say policy and scope, which the CRD may still require; the attributes win. */
const LEGACY_POLICIES: Readonly<Record<TopologyPolicy, string>> = {
  none: 'None',
  'best-effort': 'BestEffortPodLevel',
  restricted: 'RestrictedPodLevel',
  'single-numa-node': 'SingleNUMANodePodLevel',
};

const zoneName = (node: number): string => `node-${node}`;

const sizeOf = (list: string): number => CpuSet.parse(list).size;

/**
 * CPUs that shared containers may use now, on the whole host. One that no node claims is never owned, so it is shared;
 * the message does not say of it that it is isolated or not the agent's to use.
 */
function sharedOnHost({ cpus, numaNodes }: HostTopology): number {
  const known = new Set(numaNodes.map(({ id }) => id));
  const homeless = cpus.filter(({ online, numaNode }) => online && !known.has(numaNode)).length;
  return numaNodes.reduce((sum, { sharedCpus }) => sum + sizeOf(sharedCpus), homeless);
}

/**
 * CPUs of the node that a pod can own now: the free ones, as far as the shared containers that are bound here keep what
 * they request, and some CPU of the host stays shared.
 */
function ownableCpus(node: NumaNode, shared: number): number {
  const kept = node.boundShared === 0 ? 0 : Math.max(1, Math.ceil(Number(node.boundSharedMillis) / 1000));
  return Math.max(0, Math.min(sizeOf(node.freeCpus), sizeOf(node.sharedCpus) - kept, shared - 1));
}

function resourcesOf(node: NumaNode, shared: number, promisable: Promisable): readonly ZoneResource[] {
  const resource = (
    name: string,
    capacity: bigint | number,
    allocatable: bigint | number,
    available: bigint | number,
  ): ZoneResource => ({
    name,
    capacity: String(capacity),
    allocatable: String(allocatable),
    available: String(available),
  });
  const pagesFor = new Map(promisable.hugepages.map(({ pageSizeBytes, bytes }) => [pageSizeBytes, bytes]));
  const hugepages = node.hugepages
    .filter(({ total }) => total > 0n)
    .map(({ pageSizeBytes, total, availableBytes }) =>
      resource(hugepagesName(pageSizeBytes), pageSizeBytes * total, pagesFor.get(pageSizeBytes) ?? 0n, availableBytes),
    );
  return [
    resource('cpu', sizeOf(node.cpus), sizeOf(node.allocatableCpus), ownableCpus(node, shared)),
    resource('memory', node.memoryBytes, promisable.memory, node.memoryAvailableBytes),
    ...hugepages,
  ];
}

function attributesOf(
  { allocations, runningPods }: Snapshot,
  policy: TopologyPolicy,
  zones: number,
): readonly NamedValue[] {
  return [
    { name: 'topologyManagerPolicy', value: policy },
    // holdfast.dev/numa speaks of the pod as a whole.
    { name: 'topologyManagerScope', value: 'pod' },
    ...(zones > DEFAULT_MAX_NODES ? [{ name: 'topologyManagerMaxNUMANodes', value: String(zones) }] : []),
    { name: 'nodeTopologyPodsFingerprint', value: podFingerprint(runningPods ?? allocations.pods) },
    { name: 'nodeTopologyPodsFingerprintMethod', value: 'all' },
  ];
}

function zonesOf({ topology, usableMems }: Snapshot, reservedMemoryBytes: bigint): readonly Zone[] {
  const shared = sharedOnHost(topology);
  const isShown = (node: number): boolean => node < MOST_NODES;
  return topology.numaNodes
    .filter(({ id }) => isShown(id))
    .map((node) => ({
      name: zoneName(node.id),
      type: 'Node',
      costs: node.distances
        .filter(({ node: to }) => isShown(to))
        .map(({ node: to, value }) => ({ name: zoneName(to), value })),
      resources: resourcesOf(node, shared, planPromisable(node, usableMems, reservedMemoryBytes)),
    }));
}

/** What a scheduler is to know of this node. */
export function planNodeResourceTopology(
  snapshot: Snapshot,
  { policy, reservedMemoryBytes, nodeUid }: NodeResourceTopologyOptions,
): NodeResourceTopology {
  const name = snapshot.topology.nodeName;
  const zones = zonesOf(snapshot, reservedMemoryBytes);
  return {
    apiVersion: NRT_API_VERSION,
    kind: NRT_KIND,
    metadata: { name, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: nodeUid }] },
    topologyPolicies: [LEGACY_POLICIES[policy]],
    attributes: attributesOf(snapshot, policy, zones.length),
    zones,
  };
}

/** What the default of `holdfast.dev/numa` on this node is in the words of the topology manager. */
export function policyFor(numa: 'none' | 'preferred' | 'required' | undefined): TopologyPolicy {
  if (numa === 'required') return 'single-numa-node';
  return numa === 'preferred' ? 'best-effort' : 'none';
}
