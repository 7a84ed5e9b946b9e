// What can be seen on the node, without believing the agent: processes, snapshots, leases; and its books beside them.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, type DescMethod, type MessageShape } from '@bufbuild/protobuf';
import type { Test } from 'tap';
import { askAgent } from '../../../agent/cli/ask-agent.ts';
import type { PrivateHost } from '../../../agent/cli/quickstart/private-host.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import {
  GetTopologyRequestSchema,
  ListAllocationsRequestSchema,
  type PodAllocation,
  Topology,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  Leases,
  ListRequestSchema,
} from '../../../proto/gen/wire/containerd/leases/v1/leases_pb.ts';
import { ContainerState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { settles } from './harness.ts';

const TIMEOUT_MS = 10_000;

export interface Confinement {
  readonly cpus: string;
  readonly mems: string;
}

/** Where the kernel lets the container's process run. */
export async function confinementOf({ direct }: Pick<PrivateHost, 'direct'>, id: string): Promise<Confinement> {
  const text = await readFile(`/proc/${await direct.processId(id)}/status`, 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S*)$`, 'm').exec(text)?.[1] ?? '';
  return { cpus: field('Cpus_allowed_list'), mems: field('Mems_allowed_list') };
}

/** The agent's read-only APIs, which nodes of other tiers have too. */
type Asked = Pick<PrivateHost, 'topologySocket'>;

export async function allocationsOf({ topologySocket }: Asked): Promise<readonly PodAllocation[]> {
  return (await askAgent(topologySocket, Topology.method.listAllocations, create(ListAllocationsRequestSchema))).pods;
}

/** Of what the agent shows: grows with each change. */
export async function versionOf({ topologySocket }: Asked): Promise<bigint> {
  return (await askAgent(topologySocket, Topology.method.getTopology, create(GetTopologyRequestSchema))).version;
}

/** The shared pool that the agent publishes to schedulers. */
export async function sharedPool({ topologySocket }: Asked): Promise<string> {
  const { numaNodes } = await askAgent(topologySocket, Topology.method.getTopology, create(GetTopologyRequestSchema));
  return numaNodes.reduce((pool, { sharedCpus }) => pool.union(CpuSet.parse(sharedCpus)), CpuSet.EMPTY).toString();
}

/**
 * What agent and kernel say of running containers that does not fit together; empty when no CPU is given twice.
 * @param confinement - where the kernel lets a container run, by its ID
 */
export async function findDoubleUse(
  node: Pick<PrivateHost, 'direct' | 'topologySocket'>,
  confinement = (id: string): Promise<Confinement> => confinementOf(node, id),
): Promise<readonly string[]> {
  const problems: string[] = [];
  const owners = new Map<number, string>();
  const owned = new Map<string, CpuSet>();
  for (const { uid, containers } of await allocationsOf(node)) {
    for (const { name, cpuset, cpus } of containers.filter((container) => container.cpuset === 'exclusive')) {
      const key = `${uid}/${name}`;
      owned.set(key, CpuSet.parse(cpus));
      for (const cpu of CpuSet.parse(cpus)) {
        const other = owners.get(cpu);
        if (other !== undefined) problems.push(`CPU ${cpu} is owned by ${other} and by ${key} (${cpuset})`);
        owners.set(cpu, key);
      }
    }
  }
  for (const { id, labels, metadata, state } of await node.direct.listContainers()) {
    if (state !== ContainerState.CONTAINER_RUNNING) continue;
    const key = `${labels['io.kubernetes.pod.uid']}/${metadata?.name}`;
    const { cpus } = await confinement(id);
    const own = owned.get(key);
    if (own !== undefined && own.toString() !== cpus) problems.push(`${key} owns ${own.toString()}, runs on ${cpus}`);
    for (const cpu of CpuSet.parse(cpus)) {
      const owner = owners.get(cpu);
      if (owner !== undefined && owner !== key) problems.push(`${key} runs on CPU ${cpu}, which ${owner} owns`);
    }
  }
  return problems;
}

/** Neighbours are moved in the background when nobody waits for it: what differs for good is a fault. */
export async function assertNoDoubleUse(t: Test, node: PrivateHost): Promise<void> {
  await settles(t, 'no CPU is used twice', [], () => findDoubleUse(node));
}

/** Calls containerd's own API in the namespace of CRI. */
async function callContainerd<Method extends DescMethod & { readonly methodKind: 'unary' }>(
  { containerd }: PrivateHost,
  method: Method,
  request: MessageShape<Method['input']>,
): Promise<MessageShape<Method['output']>> {
  const client = connectUnix(containerd.socketPath);
  try {
    const metadata = { 'containerd-namespace': 'k8s.io' };
    return await callUnary(client, method, request, { timeoutMs: TIMEOUT_MS, metadata });
  } finally {
    client.close();
  }
}

/** Leases of kept layers. */
export async function leasesOf(node: PrivateHost): Promise<readonly string[]> {
  const request = create(ListRequestSchema, { filters: ['labels."holdfast.dev/pod-uid"'] });
  return (await callContainerd(node, Leases.method.list, request)).leases.map(({ id }) => id);
}

/**
 * What nothing refers to goes: deleting a lease synchronously returns when containerd has collected its garbage.
 * A containerd that was killed inside CreateContainer leaves the lease of its own client (`client/lease.go`), which holds
 * the new snapshot for 24 hours; here those are over.
 */
export async function collectGarbage(node: PrivateHost): Promise<void> {
  const { leases } = await callContainerd(node, Leases.method.list, create(ListRequestSchema));
  for (const { id } of leases.filter(({ labels }) => 'containerd.io/gc.expire' in labels)) {
    await callContainerd(node, Leases.method.delete, create(DeleteRequestSchema, { id }));
  }
  const id = 'garbage-collection';
  await callContainerd(node, Leases.method.create, create(CreateRequestSchema, { id }));
  await callContainerd(node, Leases.method.delete, create(DeleteRequestSchema, { id, sync: true }));
}

/** Layers on the disk, those of the images among them. */
export async function snapshotsOf({ containerd }: PrivateHost): Promise<readonly string[]> {
  const folder = join(containerd.directory, 'root/io.containerd.snapshotter.v1.overlayfs/snapshots');
  return (await readdir(folder)).toSorted();
}

/** Everything that stays on the node when its pods are gone, beyond what containerd itself would collect. */
export async function remainsOf(node: PrivateHost): Promise<unknown> {
  await collectGarbage(node);
  return {
    containers: (await node.direct.listContainers()).map(({ id }) => id),
    sandboxes: (await node.direct.listPodSandboxes()).map(({ id }) => id),
    allocations: (await allocationsOf(node)).map(({ namespace, name }) => `${namespace}/${name}`),
    pool: await sharedPool(node),
    leases: await leasesOf(node),
    snapshots: await snapshotsOf(node),
  };
}
