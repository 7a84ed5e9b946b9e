// The CPU lists of a published topology, as sets. The text comes from another machine: what it says is bounded before it
// is written out, for a few bytes of it can stand for millions of CPUs.
import { CpuSet } from '../../agent/model/cpu-set.ts';
import { HoldfastError } from '../../lib/errors.ts';
import type { HostTopology as Published } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';

/** More than any kernel is built for (NR_CPUS 8192, MAX_NUMNODES 1024): what says more is no topology. */
const MOST_CPUS = 8192;
const MOST_NODES = 1024;
/** CPUs in all lists together: four per CPU on most hosts, more where the kernel emulates nodes that share their CPUs. */
const MOST_LISTED = 1 << 18;

/** A NUMA node's CPUs, read once. */
export interface NodeCpus {
  readonly all: CpuSet;
  readonly allocatable: CpuSet;
  readonly free: CpuSet;
  readonly shared: CpuSet;
}

function invalid(message: string): HoldfastError {
  return new HoldfastError('INVALID_REQUEST', message);
}

/** Reads the lists of one message. */
class Lists {
  readonly #published: ReadonlySet<number>;
  #left = MOST_LISTED;

  constructor(published: ReadonlySet<number>) {
    this.#published = published;
  }

  read(text: string): CpuSet {
    const cpus = CpuSet.parse(text, MOST_CPUS);
    this.#left -= cpus.size;
    if (this.#left < 0) throw invalid(`its NUMA nodes list more than ${MOST_LISTED} CPUs`);
    for (const cpu of cpus) {
      if (!this.#published.has(cpu)) throw invalid(`CPU ${cpu} is on a NUMA node, but not among the host's CPUs`);
    }
    return cpus;
  }
}

/**
 * The CPUs of each NUMA node, in the order of the message.
 * @throws HoldfastError INVALID_REQUEST when there are more CPUs or nodes than any kernel has, a list cannot be read, or
 *   names a CPU that is not published
 */
export function readNodeCpus({ cpus, numaNodes }: Published): readonly NodeCpus[] {
  if (cpus.length > MOST_CPUS || numaNodes.length > MOST_NODES) {
    throw invalid(`a topology has at most ${MOST_CPUS} CPUs and ${MOST_NODES} NUMA nodes`);
  }
  const lists = new Lists(new Set(cpus.map(({ id }) => id)));
  return numaNodes.map((node) => ({
    all: lists.read(node.cpus),
    allocatable: lists.read(node.allocatableCpus),
    free: lists.read(node.freeCpus),
    shared: lists.read(node.sharedCpus),
  }));
}

/** Those CPUs of all nodes. */
export function onAllNodes(nodes: readonly NodeCpus[], of: (node: NodeCpus) => CpuSet): CpuSet {
  return CpuSet.from(nodes.flatMap((node) => [...of(node)]));
}
