// The machines of the cluster's nodes as the planner sees them. Thousands of nodes are a few models of hardware: what
// only depends on the processors is built once per model and shared.
import { createHash } from 'node:crypto';
import { buildMachine, type Machine } from '../../agent/cpuset/machine.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../agent/model/host-topology.ts';
import { bytes } from '../../agent/model/quantity.ts';
import type { HostTopology as Published } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { type NodeCpus, onAllNodes } from './published-cpus.ts';

/**
 * The host without memory. Usable is what may be owned or is shared: the planner gives out nothing else. What may be
 * used but not owned is reserved to it, whatever the agent's reason is.
 */
function processorsOf(published: Published, nodes: readonly NodeCpus[]): HostTopology {
  const usable = onAllNodes(nodes, ({ allocatable }) => allocatable).union(onAllNodes(nodes, ({ shared }) => shared));
  return {
    cpus: published.cpus,
    numaNodes: published.numaNodes.map((node, index) => ({
      id: node.id,
      cpus: nodes[index]?.all ?? CpuSet.EMPTY,
      memoryBytes: bytes(0),
      hugepages: [],
      distances: new Map(node.distances.map(({ node: to, value }) => [to, value])),
    })),
    usableCpus: usable,
    isolatedCpus: CpuSet.EMPTY,
    usableMems: CpuSet.from(published.numaNodes.map(({ id }) => id)),
  };
}

/** Equal for hosts whose processors are alike: shared CPUs that are owned now count as usable all the same. */
function keyOf(published: Published, nodes: readonly NodeCpus[]): string {
  const hash = createHash('sha256');
  for (const { id, core, die, socket, numaNode, l3, online } of published.cpus) {
    hash.update(`${id},${core},${die},${socket},${numaNode},${l3},${online};`);
  }
  published.numaNodes.forEach(({ id, cpus, distances }, index) => {
    const { allocatable = CpuSet.EMPTY, shared = CpuSet.EMPTY } = nodes[index] ?? {};
    const far = distances.map(({ node, value }) => `${node}:${value}`).join();
    hash.update(`|${id} ${cpus} ${allocatable.toString()} ${allocatable.union(shared).toString()} ${far}`);
  });
  return hash.digest('base64');
}

/** The machines of all nodes. */
export class Machines {
  /** Weak: a model is forgotten with the last node that has it. */
  readonly #models = new Map<string, WeakRef<Machine>>();
  #sweepAt = 64;

  /** Models that are known, for tests and metrics. */
  get size(): number {
    return this.#models.size;
  }

  /**
   * The planner's view of a published topology.
   * @param nodes - its lists (`readNodeCpus`)
   */
  machineOf(published: Published, nodes: readonly NodeCpus[]): Machine {
    const model = this.#model(published, nodes);
    const memoryUnknown = published.numaNodes.every(({ memoryBytes }) => memoryBytes === 0n);
    const withMemory = model.nodes.map((node, index) => {
      const { memoryBytes = 0n, hugepages = [] } = published.numaNodes[index] ?? {};
      return {
        ...node,
        memoryBytes: Number(memoryBytes),
        hasMemory: memoryUnknown || memoryBytes > 0n,
        hugepages: new Map(
          hugepages.map(({ pageSizeBytes, total }) => [Number(pageSizeBytes), Number(pageSizeBytes * total)]),
        ),
      };
    });
    const memoryBytes = withMemory.reduce((sum, node) => sum + node.memoryBytes, 0);
    return { ...model, nodes: withMemory, memoryUnknown, memoryBytes };
  }

  #model(published: Published, nodes: readonly NodeCpus[]): Machine {
    const key = keyOf(published, nodes);
    const known = this.#models.get(key)?.deref();
    if (known !== undefined) return known;
    const host = processorsOf(published, nodes);
    const allocatable = onAllNodes(nodes, (each) => each.allocatable);
    const model = buildMachine(host, host.usableCpus.minus(allocatable));
    this.#models.set(key, new WeakRef(model));
    if (this.#models.size >= this.#sweepAt) this.#sweep();
    return model;
  }

  #sweep(): void {
    for (const [key, model] of this.#models) if (model.deref() === undefined) this.#models.delete(key);
    this.#sweepAt = Math.max(64, this.#models.size * 2);
  }
}
