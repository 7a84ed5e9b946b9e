// Tells the runtime afterwards which CPUs a container has: the cgroup was written first, but the runtime (and systemd
// below it) would put its own last word back at the next update. A queue in the background, one entry per container at
// most. The journal is the difference between what the store says the runtime was told and where the container belongs:
// it needs no entry of its own, and telling twice does no harm.
import type { Logger } from 'pino';
import { z } from 'zod';
import { describeError } from '../../lib/errors.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { type ContainerId, containerId } from '../model/ids.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { del, put, type Store, type Table } from '../state/store.ts';
import { cpuList } from './holding.ts';
import type { Seat } from './ledger.ts';
import type { Member, Members } from './members.ts';
import type { CpusetMetrics } from './metrics.ts';

/** By container ID: the CPUs that the runtime was last told, where they are not those of its creation. */
export const TOLD: Table<string> = {
  name: 'cpuset-told',
  schema: z.custom<string>((value) => cpuList.safeParse(value).success),
};

/** At a time: each costs the runtime a process of some 5 ms. */
const AT_ONCE = 2;
/** Pools change in bursts when pods come and go; the last word is enough. */
const DELAY_MS = 200;
const TIMEOUT_MS = 5_000;

export interface TellerOptions {
  readonly store: Store;
  readonly runtime: ContainerRuntime;
  readonly members: Members;
  readonly seatOf: (member: Member) => Seat;
  readonly metrics: CpusetMetrics;
  readonly logger: Logger;
  /** Passes a failpoint. */
  readonly reach: (point: string) => Promise<void>;
}

export class Teller {
  readonly #options: TellerOptions;
  readonly #queue = new Set<ContainerId>();
  readonly #inFlight = new Map<ContainerId, Promise<void>>();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TellerOptions) {
    this.#options = options;
  }

  /** Containers that the runtime is still to be told of. */
  get pending(): number {
    return this.#queue.size + this.#inFlight.size;
  }

  /** What the store says about containers whose CPUs changed after their creation. */
  stored(): ReadonlyMap<ContainerId, CpuSet> {
    const told = new Map<ContainerId, CpuSet>();
    for (const [id, cpus] of this.#options.store.entries(TOLD)) told.set(containerId(id), CpuSet.parse(cpus));
    return told;
  }

  /** Puts the container into the queue, unless the runtime knows already. */
  request(member: Member): void {
    if (this.#closing.signal.aborted || member.told?.equals(this.#options.seatOf(member).cpus) === true) return;
    this.#queue.add(member.id);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, DELAY_MS).unref();
  }

  /** Resolves when nothing is being told about the container, which would overwrite its cgroup with an older word. */
  async settled(id: ContainerId): Promise<void> {
    await this.#inFlight.get(id);
  }

  /** Resolves when the queue is empty. */
  async idle(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pump();
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight.values());
  }

  /** The runtime has these CPUs in its records now. */
  async remember(member: Member, cpus: CpuSet): Promise<void> {
    await this.#options.store.commit([put(TOLD, member.id, cpus.toString())]);
    member.told = cpus;
  }

  /**
   * The containers are gone. Records that a full disk keeps are no reason to fail a removal, which may be what frees the
   * disk: they are dropped at a later reconciling.
   */
  async forget(ids: readonly ContainerId[]): Promise<void> {
    const { store, metrics, logger } = this.#options;
    for (const id of ids) this.#queue.delete(id);
    const stored = store.entries(TOLD);
    const changes = ids.filter((id) => stored.has(id)).map((id) => del(TOLD, id));
    if (changes.length === 0) return;
    try {
      await store.commit(changes);
    } catch (error) {
      metrics.failures.inc({ what: 'forget' });
      logger.warn(
        { containers: changes.length, error: describeError(error) },
        'records of removed containers could not be deleted; trying again',
      );
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#queue.clear();
    this.#closing.abort();
    await Promise.all(this.#inFlight.values());
  }

  #pump(): void {
    for (const id of this.#queue) {
      if (this.#inFlight.size >= AT_ONCE) return;
      if (this.#inFlight.has(id)) continue;
      this.#queue.delete(id);
      const member = this.#options.members.get(id);
      if (member === undefined || member.state !== 'running') continue;
      const telling = this.#tell(member).finally(() => {
        this.#inFlight.delete(id);
        this.#pump();
      });
      this.#inFlight.set(id, telling);
    }
  }

  async #tell(member: Member): Promise<void> {
    const { runtime, seatOf, metrics, logger, reach } = this.#options;
    const { cpus } = seatOf(member);
    if (member.told?.equals(cpus) === true) return;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    try {
      await runtime.updateCpuset(member.id, cpus, member.mems, signal);
      await reach('cpuset.runtime.told');
      // The runtime has written the cgroup too.
      member.written = cpus;
      await this.remember(member, cpus);
    } catch (error) {
      // It is in the queue again at the next reconciling, unless it is gone by then.
      member.written = undefined;
      if (this.#closing.signal.aborted) return;
      metrics.failures.inc({ what: 'tell' });
      logger.debug({ container: member.id, error: describeError(error) }, 'the runtime could not be told its CPUs');
    }
  }
}
