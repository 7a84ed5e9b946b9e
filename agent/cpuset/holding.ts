// What a pod holds: its CPUs, its NUMA nodes and the memory it was promised there. Belongs to the pod UID.
import { z } from 'zod';
import { CpuSet } from '../model/cpu-set.ts';
import { type PodUid, podUid } from '../model/ids.ts';
import type { Table } from '../state/store.ts';

/** What was promised on one NUMA node. */
export interface NodeShare {
  /** Number of the node. */
  readonly node: number;
  /** Bytes. */
  readonly memory: number;
  /** Thousandths of a CPU that shared containers of the pod request. */
  readonly milli: number;
  /** Shared containers are bound here: the node's pool must not become empty. */
  readonly shared: boolean;
  /** Bytes by page size. */
  readonly hugepages: ReadonlyMap<number, number>;
}

/** What a placement took, for a whole pod or for one container. */
export interface Claim {
  /** NUMA nodes that it is bound to; empty when it is bound to none. */
  readonly nodes: CpuSet;
  readonly shares: readonly NodeShare[];
  /** Bytes needed but bound to no node. */
  readonly unboundMemory: number;
}

export interface ContainerHolding extends Claim {
  readonly kind: 'app' | 'init' | 'sidecar';
  readonly cpuset: 'shared' | 'exclusive';
  /** Exclusive CPUs; a subset of the pod's, which init containers have in common with app containers. */
  readonly cpus: CpuSet;
}

export interface PodHolding extends Claim {
  readonly uid: PodUid;
  readonly namespace: string;
  readonly name: string;
  readonly numa: 'none' | 'preferred' | 'required';
  /** What the pod's claim was planned from: `containers` means that each container adds its own. */
  readonly basis: 'spec' | 'sums' | 'containers';
  /** What the pod asked for when its claim was planned, see `describeAsk`; a sandbox that asks for the same keeps it. */
  readonly asked: string;
  /** Every exclusive CPU of the pod, those included that no container has been given yet. */
  readonly cpus: CpuSet;
  /** By name. Containers that are covered by the pod's claim and own nothing themselves are not listed. */
  readonly containers: ReadonlyMap<string, ContainerHolding>;
  /** What people should know about the placement. */
  readonly note?: string;
}

export const NO_CLAIM: Claim = { nodes: CpuSet.EMPTY, shares: [], unboundMemory: 0 };

/** Whether losing it would cost the pod more than an estimate of its memory. */
export function isFirm(holding: PodHolding): boolean {
  return (
    !holding.cpus.isEmpty ||
    !holding.nodes.isEmpty ||
    [...holding.containers.values()].some((container) => !container.nodes.isEmpty)
  );
}

/** Whether there is anything to keep at all. */
export function isEmptyHolding(holding: PodHolding): boolean {
  if (isFirm(holding) || holding.unboundMemory > 0) return false;
  return [...holding.containers.values()].every((container) => container.unboundMemory === 0);
}

/** A CPU list as text; read into a set when it is decoded. */
export const cpuList = z.codec(
  z.string(),
  z.custom<CpuSet>((value) => value instanceof CpuSet),
  {
    decode: (text, context) => {
      try {
        return CpuSet.parse(text);
      } catch {
        context.issues.push({ code: 'custom', input: text, message: 'is not a CPU list' });
        return z.NEVER;
      }
    },
    encode: (set) => set.toString(),
  },
);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const share = z.object({
  node: count,
  memory: count,
  milli: count,
  shared: z.boolean(),
  hugepages: z.array(z.tuple([count, count])),
});
const claim = { nodes: cpuList, shares: z.array(share), unboundMemory: count };
const container = z.object({
  ...claim,
  name: z.string(),
  kind: z.enum(['app', 'init', 'sidecar']),
  cpuset: z.enum(['shared', 'exclusive']),
  cpus: cpuList,
});
const holding = z.object({
  ...claim,
  uid: z.string().min(1),
  namespace: z.string(),
  name: z.string(),
  numa: z.enum(['none', 'preferred', 'required']),
  basis: z.enum(['spec', 'sums', 'containers']),
  asked: z.string(),
  cpus: cpuList,
  containers: z.array(container),
  note: z.string().optional(),
});

/** A holding as it is stored: plain JSON, CPU sets in the list format. */
export type HoldingRecord = z.input<typeof holding>;

/** By pod UID. */
export const HOLDINGS: Table<HoldingRecord> = {
  name: 'cpuset-holdings',
  // Checked in full when it is read into a holding; the store hands out the record as it is.
  schema: z.custom<HoldingRecord>((value) => holding.safeParse(value).success),
};

function encodeClaim({ nodes, shares, unboundMemory }: Claim) {
  return {
    nodes: nodes.toString(),
    shares: shares.map((each) => ({ ...each, hugepages: [...each.hugepages] })),
    unboundMemory,
  };
}

export function encodeHolding(value: PodHolding): HoldingRecord {
  return {
    ...encodeClaim(value),
    uid: value.uid,
    namespace: value.namespace,
    name: value.name,
    numa: value.numa,
    basis: value.basis,
    asked: value.asked,
    cpus: value.cpus.toString(),
    containers: [...value.containers].map(([name, each]) => ({
      ...encodeClaim(each),
      name,
      kind: each.kind,
      cpuset: each.cpuset,
      cpus: each.cpus.toString(),
    })),
    ...(value.note === undefined ? {} : { note: value.note }),
  };
}

function decodeClaim(value: Pick<z.output<typeof holding>, 'nodes' | 'shares' | 'unboundMemory'>): Claim {
  return {
    nodes: value.nodes,
    shares: value.shares.map((each) => ({ ...each, hugepages: new Map(each.hugepages) })),
    unboundMemory: value.unboundMemory,
  };
}

/** @returns undefined when it is not a holding: whoever wrote it was not us, or it is damaged */
export function decodeHolding(value: unknown): PodHolding | undefined {
  const parsed = holding.safeParse(value);
  if (!parsed.success) return undefined;
  const { data } = parsed;
  return {
    ...decodeClaim(data),
    uid: podUid(data.uid),
    namespace: data.namespace,
    name: data.name,
    numa: data.numa,
    basis: data.basis,
    asked: data.asked,
    cpus: data.cpus,
    containers: new Map(
      data.containers.map(({ name, kind, cpuset, cpus, ...rest }) => [
        name,
        { ...decodeClaim(rest), kind, cpuset, cpus },
      ]),
    ),
    ...(data.note === undefined ? {} : { note: data.note }),
  };
}
