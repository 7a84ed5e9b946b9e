// How much memory a NUMA node has for pods at all, whoever has it now. Pure.
import type { NodeShare, NumaNode } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { Snapshot } from './snapshot.ts';

/** What could be promised to pods if none had anything yet. */
export interface Promisable {
  /** Bytes. */
  readonly memory: bigint;
  /** One entry per size of which the host has pages, in bytes. */
  readonly hugepages: readonly { readonly pageSizeBytes: bigint; readonly bytes: bigint }[];
}

/**
 * Of a node whose memory the agent may not hand out, nothing is left and nobody has anything; the messages say no more
 * of it. A node that pods without a node of their own fill to the last byte looks the same, and has as little to give.
 */
function isHandedOut(node: NumaNode, { pods }: Snapshot['allocations']): boolean {
  if (node.memoryAvailableBytes > 0n || node.hugepages.some(({ availableBytes }) => availableBytes > 0n)) return true;
  // Who owns CPUs of such a node has a share of it, too, in which there is no memory.
  const hasMemory = ({ memoryBytes, hugepages }: NodeShare): boolean =>
    memoryBytes > 0n || hugepages.some(({ bytes }) => bytes > 0n);
  return pods.some(({ nodeShares }) => nodeShares.some((share) => share.node === node.id && hasMemory(share)));
}

/** @param reservedMemoryBytes - of every NUMA node, promised to no pod */
export function planPromisable(
  node: NumaNode,
  allocations: Snapshot['allocations'],
  reservedMemoryBytes: bigint,
): Promisable {
  const handedOut = isHandedOut(node, allocations);
  const of = (amount: bigint): bigint => (handedOut && amount > 0n ? amount : 0n);
  return {
    memory: of(node.memoryBytes - reservedMemoryBytes),
    hugepages: node.hugepages
      .filter(({ total }) => total > 0n)
      .map(({ pageSizeBytes, total }) => ({ pageSizeBytes, bytes: of(pageSizeBytes * total) })),
  };
}
