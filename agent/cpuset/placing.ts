// Plans pods and containers for the lifecycle steps, and keeps what was planned before a step is answered.
import { HoldfastError } from '../../lib/errors.ts';
import type { ContainerCreating } from '../lifecycle/feature.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { Pod } from '../model/pod.ts';
import type { ContainerPolicy } from '../model/policy.ts';
import type { Books } from './books.ts';
import type { PodHolding } from './holding.ts';
import type { Ledger, Seat } from './ledger.ts';
import type { CpusetMetrics } from './metrics.ts';
import { planContainer } from './plan-container.ts';
import { memoryOf } from './plan-need.ts';
import { keepsHolding, type PodIdentity, type PodPlan, planPod } from './plan-pod.ts';
import { askOf, podNeedOf } from './pod-asks.ts';

export interface PlacingOptions {
  readonly books: Books;
  readonly metrics: CpusetMetrics;
  /** Passes a failpoint. */
  readonly reach: (point: string) => Promise<void>;
}

/** Where a container goes, and what its pod holds then. */
export interface PlacedContainer {
  readonly seat: Seat;
  /** Memory nodes to bind it to. */
  readonly mems: CpuSet | undefined;
  readonly holding: PodHolding | undefined;
}

function identityOf({ uid, namespace, name, policy }: Pod): PodIdentity {
  return { uid, namespace, name, numa: policy.numa };
}

function orThrow(pod: Pod, plan: PodPlan): PodHolding {
  if (plan.ok) return plan.holding;
  throw new HoldfastError('NO_ROOM', `pod ${pod.namespace}/${pod.name}: ${plan.reason}`);
}

/**
 * A container that the pod's spec does not have is one of `kubectl debug`: it has no CPU limit of its own, and looks at
 * the others from the shared pool.
 */
function policyFor({ pod, policy, spec, need }: ContainerCreating): ContainerPolicy {
  const added = pod.facts !== undefined && spec === undefined && need.cpuLimit === undefined;
  return added && policy.cpuset === 'exclusive' ? { ...policy, cpuset: 'shared' } : policy;
}

/**
 * Plans the pod whose sandbox is about to be made. A pod that holds something keeps it, unless it asks for other things.
 * @throws HoldfastError NO_ROOM with each node's reason, INVALID_REQUEST when CPUs that are not whole are to be owned
 */
export async function placePod(options: PlacingOptions, pod: Pod, signal: AbortSignal): Promise<void> {
  const known = podNeedOf(pod);
  const identity = identityOf(pod);
  await change(options, pod, signal, (ledger) => {
    const held = ledger.get(pod.uid);
    if (held !== undefined && keepsHolding(held, identity, known)) return held;
    return orThrow(pod, planPod(ledger.roomWithout(pod.uid), identity, known));
  });
}

/**
 * Plans the container that is about to be created. An attempt that follows another gets the same CPUs and nodes.
 * @throws HoldfastError as {@link placePod}
 */
export async function placeContainer(options: PlacingOptions, step: ContainerCreating): Promise<PlacedContainer> {
  const { pod, name, need, spec, signal } = step;
  const ask = askOf(name, spec?.kind ?? 'app', policyFor(step), need);
  const holding = await change(options, pod, signal, (ledger) => {
    const room = ledger.roomWithout(pod.uid);
    const held = ledger.get(pod.uid) ?? orThrow(pod, planPod(room, identityOf(pod), podNeedOf(pod)));
    room.add(held);
    return orThrow(pod, planContainer(room, held, ask));
  });
  const { ledger } = options.books;
  const seat = ledger.seatOf(pod.uid, name);
  const nodes = ledger.memsOf(seat.nodes);
  // Whose memory need is not known may need more than the node has left: only its CPUs are placed.
  const mems = memoryOf(need) === undefined || nodes.isEmpty ? undefined : nodes;
  return { seat, mems, holding };
}

async function change(
  { books, metrics, reach }: PlacingOptions,
  pod: Pod,
  signal: AbortSignal,
  plan: (ledger: Ledger) => PodHolding,
): Promise<PodHolding | undefined> {
  const timed = (ledger: Ledger): PodHolding => {
    const stop = metrics.planning.startTimer();
    try {
      return plan(ledger);
    } finally {
      stop();
    }
  };
  const holding = await books.change(pod.uid, timed, signal);
  await reach('cpuset.holding.kept');
  return holding;
}
