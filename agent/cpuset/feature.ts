// The cpuset and NUMA feature: what each lifecycle step asks of the books, and what it brings to the host.
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { HoldfastError } from '../../lib/errors.ts';
import type {
  ListAllocationsResponseSchema,
  PlanPlacementRequestSchema,
  PlanPlacementResponseSchema,
} from '../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import type { PodName } from '../cluster/pod-source.ts';
import type { Contribution } from '../lifecycle/adjustment.ts';
import type {
  ContainerCreated,
  ContainerCreating,
  ContainerStep,
  ContainerUpdating,
  Feature,
  HoldingsEnd,
  SandboxCreating,
  StatusLine,
} from '../lifecycle/feature.ts';
import type { AllocationView } from '../model/allocation-view.ts';
import type { HostTopology } from '../model/host-topology.ts';
import type { PodUid } from '../model/ids.ts';
import type { PodReference } from '../model/pod.ts';
import { Applier } from './apply.ts';
import { Books } from './books.ts';
import { InCreation } from './in-creation.ts';
import type { Ledger, Seat } from './ledger.ts';
import { type Member, Members, mayRun, memberFrom } from './members.ts';
import { type CpusetMetrics, registerMetrics } from './metrics.ts';
import type { CpusetParts } from './parts.ts';
import { type PlacingOptions, placeContainer, placePod } from './placing.ts';
import { type DecidePolicy, planPlacement } from './plan-placement.ts';
import { Rechecks } from './recheck.ts';
import { SharedPool } from './shared-pool.ts';
import { writeStamp } from './stamp.ts';
import { Teller } from './teller.ts';
import { compareAll, recoverBooks, type UpkeepOptions } from './upkeep.ts';
import { allocationView, listAllocations, runningPods, statusLines } from './view.ts';

export class CpusetFeature implements Feature {
  readonly name = 'cpuset';
  readonly #parts: CpusetParts;
  readonly #books: Books;
  readonly #members: Members;
  readonly #teller: Teller;
  readonly #applier: Applier;
  readonly #pool: SharedPool;
  readonly #rechecks: Rechecks;
  readonly #placing: PlacingOptions;
  readonly #upkeep: UpkeepOptions;
  readonly #metrics: CpusetMetrics;
  readonly #inCreation: InCreation;

  /** Nothing on the host is touched before {@link recover}. */
  constructor(parts: CpusetParts) {
    const { store, runtime, topology, cgroups, logger, options, onChange, publishMask } = parts;
    const { reservedCpus } = options;
    const books = new Books({ store, topology, reservedCpus, rules: options, onChange });
    const members = new Members(onChange);
    const metrics = registerMetrics(parts.registry, {
      exclusiveCpus: () => books.ledger.holdings().reduce((sum, { cpus }) => sum + cpus.size, 0),
      sharedCpus: () => books.ledger.pool().size,
      contestedCpus: () => (books.ledger.isPoolExhausted ? books.ledger.pool().size : 0),
      untold: () => teller.pending,
    });
    const seatOf = ({ podUid, name }: Member): Seat => books.ledger.seatOf(podUid, name);
    const reach = async (point: string): Promise<void> => parts.failpoint?.(point);
    const teller = new Teller({ store, runtime, members, seatOf, metrics, logger, reach });
    const applier = new Applier({ members, cgroups, runtime, teller, seatOf, metrics, logger, reach });
    const pool = new SharedPool({
      pool: () => books.ledger.pool(),
      isExhausted: () => books.ledger.isPoolExhausted,
      applier,
      publishMask,
      metrics,
      logger,
      reach,
    });
    this.#parts = parts;
    this.#members = members;
    this.#inCreation = new InCreation(runtime);
    this.#books = books;
    this.#teller = teller;
    this.#applier = applier;
    this.#pool = pool;
    this.#rechecks = new Rechecks({ members, applier, teller, metrics, logger });
    this.#metrics = metrics;
    this.#placing = { books, metrics, reach };
    this.#upkeep = { store, runtime, logger, books, members, applier, teller, pool };
  }

  get #ledger(): Ledger {
    return this.#books.ledger;
  }

  async recover(signal: AbortSignal): Promise<void> {
    await recoverBooks(this.#upkeep, signal);
  }

  async sandboxCreating({ pod, signal }: SandboxCreating): Promise<Contribution> {
    await this.#planning(() => placePod(this.#placing, pod, signal));
    return {};
  }

  async containerCreating(step: ContainerCreating): Promise<Contribution> {
    const { seat, mems, holding } = await this.#planning(() => placeContainer(this.#placing, step));
    this.#inCreation.put(step.pod.uid, step.name, { cpus: seat.cpus, mems });
    return {
      cpusetCpus: seat.cpus,
      ...(mems === undefined ? {} : { cpusetMems: mems }),
      // A quota of as many CPUs as it owns would still throttle it: periods are not in step with its work.
      ...(seat.exclusive ? { cpuQuota: -1 } : {}),
      annotations: writeStamp(seat.cpus, mems, holding),
    };
  }

  async containerCreated(step: ContainerCreated): Promise<void> {
    const { pod, name, containerId } = step;
    const member = await this.#inCreation.take(step);
    if (member === undefined) return;
    this.#members.put(member);
    try {
      await this.#applier.editSpec(member);
      const seat = this.#ledger.seatOf(pod.uid, name);
      if (seat.exclusive) await this.#pool.clear(seat.cpus);
    } catch (error) {
      this.#members.delete(containerId);
      throw error;
    }
  }

  async containerAbandoned({ container }: ContainerStep): Promise<void> {
    await this.#forget(container.id);
  }

  async containerStarted({ pod, container, signal }: ContainerStep): Promise<void> {
    let member = this.#members.get(container.id);
    if (member === undefined) {
      const listed = await this.#parts.runtime.containerStatus(container.id, signal);
      if (listed === undefined || pod.uid === '') return;
      member = memberFrom(listed, this.#teller.stored().get(container.id));
      this.#members.put(member);
    }
    this.#members.setState(member, 'running');
    const repaired = await this.#applier.check(member);
    if (repaired.length > 0) this.#parts.logger.warn({ repaired }, 'put back CPUs that something else changed');
    this.#teller.request(member);
  }

  async containerUpdating({ pod, container, need }: ContainerUpdating): Promise<Contribution> {
    const seat = this.#ledger.seatOf(pod.uid, container.name);
    const owned = seat.cpus.size * 1000;
    const asked = [need.cpuLimit, need.cpuRequest].find((milli) => milli !== undefined && milli !== owned);
    if (seat.exclusive && asked !== undefined) {
      throw this.#counted(
        new HoldfastError(
          'PRECONDITION',
          `container ${container.name} of pod ${pod.namespace}/${pod.name} owns ${seat.cpus.size} CPUs (${seat.cpus.toString()}) and cannot have ${asked / 1000} while it runs: delete the pod, and create it with another CPU limit`,
        ),
      );
    }
    const mems = this.#members.get(container.id)?.mems;
    this.#rechecks.later(container.id);
    return {
      cpusetCpus: seat.cpus,
      ...(mems === undefined ? {} : { cpusetMems: mems }),
      ...(seat.exclusive ? { cpuQuota: -1 } : {}),
    };
  }

  async containerRemoving({ container }: ContainerStep): Promise<void> {
    // One that may still run is stopped by the runtime: until then it keeps off the CPUs of others.
    if (!mayRun(container)) await this.#forget(container.id);
  }

  pods(): readonly PodName[] {
    return this.#ledger.holdings().map(({ uid, namespace, name }) => ({ uid, namespace, name }));
  }

  async podGone(uid: PodUid, _why: HoldingsEnd, signal: AbortSignal): Promise<void> {
    this.#inCreation.podGone(uid);
    const members = this.#members.list().filter(({ podUid }) => podUid === uid);
    for (const { id } of members) this.#members.delete(id);
    await this.#teller.forget(members.map(({ id }) => id));
    const owned = this.#ledger.get(uid)?.cpus.isEmpty === false;
    await this.#books.change(uid, () => undefined, signal);
    if (owned) this.#pool.spreadLater();
  }

  async reconcile(signal: AbortSignal): Promise<void> {
    await compareAll(this.#upkeep, signal);
  }

  status(): readonly StatusLine[] {
    return statusLines({
      ledger: this.#ledger,
      members: this.#members.list(),
      cgroupVersion: this.#parts.cgroups.version,
      untold: this.#teller.pending,
    });
  }

  /**
   * The host has other CPUs or nodes now.
   * @param onMoved - called in the moment in which {@link view} begins to show them
   */
  async topologyChanged(topology: HostTopology, onMoved: () => void = () => {}): Promise<void> {
    await this.#books.moveTo(topology, onMoved);
    this.#pool.spreadLater();
  }

  /** Per NUMA node: what may be owned, what is free, what is shared. */
  view(): AllocationView {
    return allocationView(this.#ledger);
  }

  /** Who owns what. */
  allocations(): MessageInitShape<typeof ListAllocationsResponseSchema> {
    return listAllocations(this.#ledger, this.#members.list());
  }

  /** Pods that are past waiting for their images. */
  runningPods(): readonly PodReference[] {
    return runningPods(this.#ledger, this.#members.list());
  }

  /** @throws HoldfastError INVALID_REQUEST as the function of that name */
  planPlacement(
    request: MessageShape<typeof PlanPlacementRequestSchema>,
    decidePolicy?: DecidePolicy,
  ): MessageInitShape<typeof PlanPlacementResponseSchema> {
    return planPlacement(this.#ledger, request, decidePolicy);
  }

  /** Resolves when nothing goes on in the background: neighbours are moved, the runtime is told. */
  async idle(): Promise<void> {
    await this.#pool.idle();
    await this.#rechecks.idle();
    await this.#teller.idle();
  }

  /** Ends what goes on in the background; what was not told is told after the next start. */
  async close(): Promise<void> {
    await this.#pool.idle();
    await this.#rechecks.close();
    await this.#teller.close();
  }

  async #forget(id: Member['id']): Promise<void> {
    this.#members.delete(id);
    await this.#teller.forget([id]);
  }

  /**
   * Counts what is refused. Where CPUs got an owner, neighbours begin to leave at once; who needs the CPUs waits for
   * that later.
   */
  async #planning<Result>(plan: () => Promise<Result>): Promise<Result> {
    const before = this.#ledger.pool();
    try {
      const result = await plan();
      if (!before.equals(this.#ledger.pool())) this.#pool.spreadLater();
      return result;
    } catch (error) {
      throw error instanceof HoldfastError ? this.#counted(error) : error;
    }
  }

  #counted(error: HoldfastError): HoldfastError {
    this.#metrics.refusals.inc({ code: error.code });
    return error;
  }
}

/** Builds the feature; `recover` reads the store, the runtime and the kernel. */
export function createCpuset(parts: CpusetParts): CpusetFeature {
  return new CpusetFeature(parts);
}
