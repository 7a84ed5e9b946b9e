// What schedulers and people read: the host's topology together with what is handed out. Pure.
import { create } from '@bufbuild/protobuf';
import { type HostTopology, HostTopologySchema } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { AllocationView, NodeAllocation } from '../model/allocation-view.ts';
import { CpuSet } from '../model/cpu-set.ts';
import type { HostTopology as Host, HugepagePool, NumaNode } from '../model/host-topology.ts';
import { type Bytes, bytes, milliCpu } from '../model/quantity.ts';

export interface PublishedAs {
  /** Grows with every change; 0 where nobody counts. */
  readonly version: bigint;
  readonly nodeName: string;
}

const NOTHING: NodeAllocation = {
  allocatableCpus: CpuSet.EMPTY,
  freeCpus: CpuSet.EMPTY,
  sharedCpus: CpuSet.EMPTY,
  memoryAvailableBytes: bytes(0),
  hugepagesAvailable: new Map(),
  boundSharedMillis: milliCpu(0),
  boundShared: 0,
};

const bytesOf = ({ pageSizeBytes, total }: HugepagePool): Bytes => bytes(pageSizeBytes * total);

/**
 * The view of a host without an agent: whatever is online and usable and not isolated is free and shared.
 * @param reserved - CPUs kept for the system
 */
export function unallocated(host: Host, reserved: CpuSet = CpuSet.EMPTY): AllocationView {
  const shared = host.usableCpus.minus(host.isolatedCpus);
  const usable = (node: NumaNode, amount: Bytes): Bytes => (host.usableMems.has(node.id) ? amount : bytes(0));
  const view = (node: NumaNode): NodeAllocation => {
    const sharedCpus = node.cpus.intersect(shared);
    const allocatableCpus = sharedCpus.minus(reserved);
    return {
      allocatableCpus,
      freeCpus: allocatableCpus,
      sharedCpus,
      memoryAvailableBytes: usable(node, node.memoryBytes),
      hugepagesAvailable: new Map(node.hugepages.map((pool) => [pool.pageSizeBytes, usable(node, bytesOf(pool))])),
      boundSharedMillis: milliCpu(0),
      boundShared: 0,
    };
  };
  return {
    reservedCpus: reserved.intersect(host.usableCpus),
    nodes: new Map(host.numaNodes.map((node) => [node.id, view(node)])),
  };
}

/** The message `holdfast.topology.v1.HostTopology`: CPU sets in the kernel's list format, sizes in bytes. */
export function publishTopology(host: Host, view: AllocationView, as: PublishedAs): HostTopology {
  return create(HostTopologySchema, {
    version: as.version,
    nodeName: as.nodeName,
    reservedCpus: view.reservedCpus.toString(),
    cpus: [...host.cpus],
    numaNodes: host.numaNodes.map((node) => {
      const allocation = view.nodes.get(node.id) ?? NOTHING;
      return {
        id: node.id,
        cpus: node.cpus.toString(),
        memoryBytes: BigInt(node.memoryBytes),
        memoryAvailableBytes: BigInt(allocation.memoryAvailableBytes),
        hugepages: node.hugepages.map(({ pageSizeBytes, total, free }) => ({
          pageSizeBytes: BigInt(pageSizeBytes),
          total: BigInt(total),
          free: BigInt(free),
          availableBytes: BigInt(allocation.hugepagesAvailable.get(pageSizeBytes) ?? 0),
        })),
        distances: [...node.distances].map(([to, value]) => ({ node: to, value })),
        allocatableCpus: allocation.allocatableCpus.toString(),
        freeCpus: allocation.freeCpus.toString(),
        sharedCpus: allocation.sharedCpus.toString(),
        boundSharedMillis: BigInt(allocation.boundSharedMillis),
        boundShared: allocation.boundShared,
      };
    }),
  });
}
