// The ledger and its durable copy. One change at a time, from the look to the disk: what a step was promised is on the
// disk before the step is answered, and a change that the disk refuses never happened.
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import type { HostTopology } from '../model/host-topology.ts';
import type { PodUid } from '../model/ids.ts';
import { type Change, del, put, type Store } from '../state/store.ts';
import { encodeHolding, HOLDINGS, isEmptyHolding, isFirm, type PodHolding } from './holding.ts';
import { Ledger } from './ledger.ts';
import { buildMachine } from './machine.ts';
import type { PlanRules } from './room.ts';

export interface BooksOptions {
  readonly store: Store;
  readonly topology: HostTopology;
  readonly reservedCpus: CpuSet;
  readonly rules: PlanRules;
  /** Something that schedulers can see has changed; called before anything else can run. */
  readonly onChange: () => void;
}

/**
 * What a change writes. The estimate of an unbound pod's memory is not worth a wait for the disk at every creation: it
 * is stamped on the pod's containers, and a start finds it there.
 */
function recordOf(uid: PodUid, before: PodHolding | undefined, next: PodHolding | undefined): readonly Change[] {
  if (next !== undefined && isFirm(next)) return [put(HOLDINGS, uid, encodeHolding(next))];
  return before !== undefined && isFirm(before) ? [del(HOLDINGS, uid)] : [];
}

export class Books {
  readonly #options: BooksOptions;
  readonly #mutex = new KeyedMutex();
  #ledger: Ledger;

  constructor(options: BooksOptions) {
    this.#options = options;
    this.#ledger = this.#emptyLedger(options.topology);
  }

  /** As it is now; may be replaced, so ask again after every wait. */
  get ledger(): Ledger {
    return this.#ledger;
  }

  /**
   * Plans and keeps.
   * @param plan - what the pod is to hold, or undefined for nothing; may throw to refuse. It must not wait.
   * @param signal - gives up waiting for the turn
   * @throws what `plan` throws; HoldfastError HOST_FAILURE when the disk refuses
   */
  async change(
    uid: PodUid,
    plan: (ledger: Ledger) => PodHolding | undefined,
    signal?: AbortSignal,
  ): Promise<PodHolding | undefined> {
    return await this.#mutex.run(
      '',
      async () => {
        const before = this.#ledger.get(uid);
        const planned = plan(this.#ledger);
        const next = planned === undefined || isEmptyHolding(planned) ? undefined : planned;
        if (next === before) return before;
        if (next === undefined) this.#ledger.delete(uid);
        else this.#ledger.set(next);
        // What is shown is what is planned on from now on: whoever plans next must not learn later of it.
        this.#options.onChange();
        try {
          const changes = recordOf(uid, before, next);
          if (changes.length > 0) await this.#options.store.commit(changes);
        } catch (error) {
          this.#ledger.restore(uid, before);
          this.#options.onChange();
          throw error;
        }
        return next;
      },
      signal,
    );
  }

  /** Begins with these holdings instead of those known; the store is brought to agree. */
  async load(holdings: readonly PodHolding[]): Promise<void> {
    await this.#mutex.run('', async () => {
      const ledger = this.#emptyLedger(this.#options.topology);
      for (const holding of holdings) ledger.set(holding);
      const firm = holdings.filter(isFirm);
      const wanted = new Map(firm.map((holding) => [holding.uid as string, encodeHolding(holding)]));
      const stored = this.#options.store.entries(HOLDINGS);
      const changes = [
        ...[...stored.keys()].filter((uid) => !wanted.has(uid)).map((uid) => del(HOLDINGS, uid)),
        ...[...wanted]
          .filter(([uid, record]) => JSON.stringify(stored.get(uid)) !== JSON.stringify(record))
          .map(([uid, record]) => put(HOLDINGS, uid, record)),
      ];
      if (changes.length > 0) await this.#options.store.commit(changes);
      this.#ledger = ledger;
      this.#options.onChange();
    });
  }

  /**
   * The host has other CPUs or nodes now; every holding stays.
   * @param onMoved - called together with the change
   */
  async moveTo(topology: HostTopology, onMoved: () => void = () => {}): Promise<void> {
    await this.#mutex.run('', async () => {
      const ledger = this.#emptyLedger(topology);
      for (const holding of this.#ledger.holdings()) ledger.set(holding);
      this.#ledger = ledger;
      onMoved();
      this.#options.onChange();
    });
  }

  #emptyLedger(topology: HostTopology): Ledger {
    return new Ledger(buildMachine(topology, this.#options.reservedCpus), this.#options.rules);
  }
}
