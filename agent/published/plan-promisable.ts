// How much memory a NUMA node has for pods at all, whoever has it now. Pure.
import type { NumaNode } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { Snapshot } from './snapshot.ts';

/** What could be promised to pods if none had anything yet. */
export interface Promisable {
  /** Bytes. */
  readonly memory: bigint;
  /** One entry per size of which the host has pages, in bytes. */
  readonly hugepages: readonly { readonly pageSizeBytes: bigint; readonly bytes: bigint }[];
}

/**
 * @param usableMems - nodes whose memory the agent may hand out; undefined: all
 * @param reservedMemoryBytes - of every NUMA node, promised to no pod
 */
export function planPromisable(
  node: NumaNode,
  usableMems: Snapshot['usableMems'],
  reservedMemoryBytes: bigint,
): Promisable {
  const isUsable = usableMems === undefined || usableMems.has(node.id);
  const of = (amount: bigint): bigint => (isUsable && amount > 0n ? amount : 0n);
  return {
    memory: of(node.memoryBytes - reservedMemoryBytes),
    hugepages: node.hugepages
      .filter(({ total }) => total > 0n)
      .map(({ pageSizeBytes, total }) => ({ pageSizeBytes, bytes: of(pageSizeBytes * total) })),
  };
}
