// Which mark each CPU gets in the picture of a host. Pure.
import type { HostTopology, ListAllocationsResponse } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { CpuSet } from '../model/cpu-set.ts';

/** As `styleText` of node:util names it. */
export type Style = 'green' | 'yellow' | 'cyan' | 'magenta' | 'blue' | 'red' | 'gray';

export interface CpuMark {
  /** One character. */
  readonly mark: string;
  readonly style: Style | undefined;
  /** For ranges: what a person reads. */
  readonly word: string;
}

/** A container that owns CPUs or is bound to memory nodes. */
export interface Owner {
  readonly mark: string;
  /** namespace/pod/container */
  readonly name: string;
  readonly cpuset: string;
  readonly cpus: string;
  readonly mems: string;
}

export interface CpuMarks {
  readonly of: ReadonlyMap<number, CpuMark>;
  /** Phrases; only for the marks that occur. */
  readonly legend: readonly string[];
  readonly owners: readonly Owner[];
  /** Containers that are neither exclusive nor bound: not listed. */
  readonly sharedContainers: number;
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const OWNER_STYLES: readonly Style[] = ['cyan', 'magenta', 'blue', 'red'];

const SHARED: CpuMark = { mark: '.', style: 'green', word: 'shared' };
const RESERVED: CpuMark = { mark: 'r', style: 'yellow', word: 'reserved' };
const TAKEN: CpuMark = { mark: '#', style: 'red', word: 'owned' };
const OFFLINE: CpuMark = { mark: 'o', style: 'gray', word: 'offline' };
const KEPT_OUT: CpuMark = { mark: 'x', style: 'gray', word: 'kept out' };

const LEGEND: readonly (readonly [CpuMark, string])[] = [
  [SHARED, '. shared'],
  [RESERVED, 'r reserved (shared, never exclusive)'],
  [TAKEN, '# owned exclusively (see the list)'],
  [OFFLINE, 'o offline'],
  [KEPT_OUT, "x kept out (isolated, or outside the agent's cpuset)"],
];

/** Who owns and what is bound; exclusive owners first, in the order of their CPUs. */
function findOwners(allocations: ListAllocationsResponse): { readonly owners: Owner[]; readonly shared: number } {
  const owners: Owner[] = [];
  let shared = 0;
  for (const pod of allocations.pods) {
    for (const container of pod.containers) {
      if (container.cpuset !== 'exclusive' && container.mems === '') shared += 1;
      else {
        const { cpuset, cpus, mems } = container;
        owners.push({ mark: '', name: `${pod.namespace}/${pod.name}/${container.name}`, cpuset, cpus, mems });
      }
    }
  }
  const rank = (owner: Owner): number =>
    (owner.cpuset === 'exclusive' ? 0 : 1e9) + (CpuSet.parse(owner.cpus).first() ?? 1e8);
  return { owners: owners.sort((a, b) => rank(a) - rank(b)), shared };
}

/** Marks every CPU: offline, owned, reserved, shared, or kept out of all containers. */
export function markCpus(host: HostTopology, allocations: ListAllocationsResponse): CpuMarks {
  const { owners: unmarked, shared } = findOwners(allocations);
  const marks = new Map<number, CpuMark>();
  const union = (lists: readonly string[]): CpuSet =>
    lists.reduce((sum, list) => sum.union(CpuSet.parse(list)), CpuSet.EMPTY);
  const reserved = CpuSet.parse(host.reservedCpus);
  const sharedCpus = union(host.numaNodes.map((node) => node.sharedCpus));
  const allocatable = union(host.numaNodes.map((node) => node.allocatableCpus));
  const free = union(host.numaNodes.map((node) => node.freeCpus));
  const knownNodes = new Set(host.numaNodes.map(({ id }) => id));
  for (const { id, online, numaNode } of host.cpus) {
    if (!online) marks.set(id, OFFLINE);
    else if (reserved.has(id)) marks.set(id, RESERVED);
    else if (allocatable.has(id) && !free.has(id)) marks.set(id, TAKEN);
    // Lists of CPUs are per node: what a CPU without one may be used for is not said, and it can only be shared.
    else marks.set(id, sharedCpus.has(id) || free.has(id) || !knownNodes.has(numaNode) ? SHARED : KEPT_OUT);
  }
  let next = 0;
  const owners = unmarked.map((owner): Owner => {
    if (owner.cpuset !== 'exclusive') return owner;
    const mark = LETTERS[next] ?? TAKEN.mark;
    const style = OWNER_STYLES[next % OWNER_STYLES.length];
    next += 1;
    for (const cpu of CpuSet.parse(owner.cpus)) {
      if (marks.get(cpu) !== OFFLINE) marks.set(cpu, { mark, style, word: mark });
    }
    return { ...owner, mark };
  });
  const lastLetter = LETTERS[Math.min(next, LETTERS.length) - 1];
  const letters = lastLetter === 'A' ? 'A' : `A-${lastLetter}`;
  const used = new Set([...marks.values()].map(({ mark }) => mark));
  const legend = LEGEND.filter(([mark]) => used.has(mark.mark));
  return {
    of: marks,
    owners,
    sharedContainers: shared,
    legend: [...legend.map(([, text]) => text), ...(next > 0 ? [`${letters} owned exclusively`] : [])].map(
      (text, index, all) => (index < all.length - 1 ? `${text},` : text),
    ),
  };
}
