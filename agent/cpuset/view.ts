// What schedulers and `holdfast status` see of the books.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListAllocationsResponseSchema } from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import type { AllocationView, NodeAllocation } from '../model/allocation-view.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { PodUid } from '../model/ids.ts';
import type { PodReference } from '../model/pod.ts';
import { bytes, milliCpu } from '../model/quantity.ts';
import type { PodHolding } from './holding.ts';
import type { Ledger } from './ledger.ts';
import { cpusWhere } from './machine.ts';
import { describeMember, isShown, type Member, wasStarted } from './members.ts';
import { formatMemory } from './plan-reasons.ts';

export function allocationView({ room, machine }: Ledger): AllocationView {
  const nodes = machine.nodes.map((node, index): readonly [number, NodeAllocation] => {
    const here = (accept: (position: number) => boolean): CpuSet =>
      cpusWhere(machine, (position) => machine.nodeOf[position] === index && accept(position));
    return [
      node.id,
      {
        allocatableCpus: here((position) => machine.allocatable[position] === 1),
        freeCpus: here((position) => room.free[position] === 1),
        sharedCpus: room.poolCpus([index]),
        memoryAvailableBytes: bytes(room.memoryLeftOn(index)),
        hugepagesAvailable: new Map(
          [...node.hugepages.keys()].map((size) => [size, bytes(room.hugepagesLeftOn(index, size))]),
        ),
        boundSharedMillis: milliCpu(room.boundMilliOn(index)),
        boundShared: room.sharersOn(index),
      },
    ];
  });
  return { reservedCpus: machine.reservedCpus, nodes: new Map(nodes) };
}

/** Memory and huge pages that a pod was promised on one node, in bytes. */
interface PromisedMemory {
  readonly memory: number;
  readonly hugepages: ReadonlyMap<number, number>;
}

/** The claims of the pod and of its containers, added up by node. */
function promisedByNode(holding: PodHolding | undefined): ReadonlyMap<number, PromisedMemory> {
  const byNode = new Map<number, PromisedMemory>();
  const shares = holding === undefined ? [] : [holding, ...holding.containers.values()].flatMap((each) => each.shares);
  for (const { node, memory, hugepages: more } of shares) {
    const before = byNode.get(node);
    const hugepages = new Map(before?.hugepages);
    for (const [size, amount] of more) hugepages.set(size, (hugepages.get(size) ?? 0) + amount);
    byNode.set(node, { memory: (before?.memory ?? 0) + memory, hugepages });
  }
  return new Map([...byNode].toSorted(([a], [b]) => a - b));
}

function publishShare([node, { memory, hugepages }]: readonly [number, PromisedMemory]) {
  return {
    node,
    memoryBytes: BigInt(memory),
    hugepages: [...hugepages]
      .filter(([, amount]) => amount > 0)
      .map(([size, amount]) => ({ pageSizeBytes: BigInt(size), bytes: BigInt(amount) })),
  };
}

/** Every pod that holds something or has a container, and where each of its containers belongs. */
export function listAllocations(
  ledger: Ledger,
  members: readonly Member[],
): MessageInitShape<typeof ListAllocationsResponseSchema> {
  const pods = new Map<
    PodUid,
    { readonly namespace: string; readonly name: string; readonly containers: Set<string> }
  >();
  for (const { uid, namespace, name, containers } of ledger.holdings()) {
    pods.set(uid, { namespace, name, containers: new Set(containers.keys()) });
  }
  const mems = new Map<string, string>();
  for (const { podUid, namespace, podName, name, mems: bound } of members.filter(isShown)) {
    const pod = pods.get(podUid) ?? { namespace, name: podName, containers: new Set<string>() };
    pods.set(podUid, pod);
    pod.containers.add(name);
    mems.set(`${podUid}/${name}`, bound?.toString() ?? '');
  }
  return {
    pods: [...pods].map(([uid, { namespace, name, containers }]) => {
      const holding = ledger.get(uid);
      const shares = promisedByNode(holding);
      return {
        uid,
        namespace,
        name,
        numa: holding?.numa ?? 'none',
        numaNodes: holding?.nodes.toString() ?? '',
        memoryBytes: [...shares.values()].reduce((sum, { memory }) => sum + BigInt(memory), 0n),
        nodeShares: [...shares].map(publishShare),
        containers: [...containers].map((container) => {
          const seat = ledger.seatOf(uid, container);
          return {
            name: container,
            cpuset: seat.exclusive ? 'exclusive' : 'shared',
            cpus: seat.cpus.toString(),
            mems: mems.get(`${uid}/${container}`) ?? ledger.memsOf(seat.nodes).toString(),
          };
        }),
      };
    }),
  };
}

/**
 * Of the pods in {@link listAllocations} those of which an app container was ever started, which the API calls Running: one
 * that crashes again and again is, one that pulls its image or is in its init containers is not.
 */
export function runningPods(ledger: Ledger, members: readonly Member[]): readonly PodReference[] {
  const shown = new Set(members.filter(isShown).map(({ podUid }) => podUid));
  const running = new Map<PodUid, PodReference>();
  for (const member of members) {
    const { podUid, namespace, podName } = member;
    const holding = ledger.get(podUid);
    const isApp = (holding?.containers.get(member.name)?.kind ?? 'app') === 'app';
    if (isApp && wasStarted(member) && (holding !== undefined || shown.has(podUid))) {
      running.set(podUid, { namespace, name: podName });
    }
  }
  return [...running.values()];
}

/** Notes and problems that are shown one by one. */
const MOST_SHOWN = 5;

function shown(lines: readonly StatusLine[], what: string): readonly StatusLine[] {
  const [first] = lines;
  const more = lines.length - MOST_SHOWN;
  if (first === undefined || more <= 0) return lines;
  return [...lines.slice(0, MOST_SHOWN), { ...first, text: `and ${more} more ${what}` }];
}

export interface StatusInputs {
  readonly ledger: Ledger;
  readonly members: readonly Member[];
  readonly cgroupVersion: 1 | 2 | undefined;
  readonly untold: number;
}

/** Lines for `holdfast status`. */
export function statusLines({ ledger, members, cgroupVersion, untold }: StatusInputs): readonly StatusLine[] {
  const { machine, room } = ledger;
  const holdings = ledger.holdings();
  const owners = holdings.filter(({ cpus }) => !cpus.isEmpty);
  const owned = owners.reduce((sum, { cpus }) => sum + cpus.size, 0);
  const pool = ledger.pool();
  const cpuset: StatusLine =
    cgroupVersion === undefined
      ? { subject: 'cpuset', level: 'failed', text: 'no cgroup hierarchy with cpusets is mounted: nothing is confined' }
      : {
          subject: 'cpuset',
          level: 'ok',
          text: `${owned} CPUs owned by ${owners.length} pods; shared pool ${pool.toString()} (${pool.size} CPUs); ${members.length} containers, ${untold} of which the runtime is still to be told; cgroup v${cgroupVersion}`,
        };
  const nodes = machine.nodes.map((node, index): StatusLine => {
    const memory = machine.memoryUnknown
      ? 'memory not counted'
      : `${formatMemory(room.memoryLeftOn(index))} memory left`;
    const text = `node ${node.id}: ${room.freeOn(index)} of ${node.allocatable.length} CPUs free, ${memory}`;
    return { subject: 'numa', level: 'ok', text };
  });
  const exhausted: readonly StatusLine[] = ledger.isPoolExhausted
    ? [
        {
          subject: 'cpuset',
          level: 'failed',
          text: `every CPU that is left has an owner: shared containers run on owned CPUs (${pool.toString()}), and no more can be owned until one is free again; bring CPUs back, or delete a pod that owns some`,
        },
      ]
    : [];
  const problems = members
    .filter(({ problem }) => problem !== undefined)
    .map(
      (member): StatusLine => ({
        subject: 'cpuset',
        level: 'failed',
        text: `${describeMember(member)}: ${member.problem}`,
      }),
    );
  const notes = holdings
    .filter(({ note }) => note !== undefined)
    .map(
      ({ namespace, name, note }): StatusLine => ({
        subject: 'numa',
        level: 'warning',
        text: `${namespace}/${name}: ${note}`,
      }),
    );
  const misplaced = owners
    .filter(({ cpus }) => [...cpus].some((cpu) => machine.allocatable[machine.positions.get(cpu) ?? -1] !== 1))
    .map(
      ({ namespace, name, cpus }): StatusLine => ({
        subject: 'cpuset',
        level: 'warning',
        text: `${namespace}/${name} owns CPUs ${cpus.toString()}, some of which are now reserved, isolated or offline: it gets others when its containers are created again`,
      }),
    );
  return [
    cpuset,
    ...exhausted,
    ...nodes,
    ...shown(problems, 'containers that are not where they belong'),
    ...shown(notes, 'pods with a note'),
    ...shown(misplaced, 'pods with such CPUs'),
  ];
}
