// What happens away from the CRI calls: recovery at the start, and rounds of upkeep on schedules.
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { KeyedMutex } from '../../lib/keyed-mutex.ts';
import { keepWithinBudget } from './budget.ts';
import { layersOfRuntime, type ReuseContext } from './context.ts';
import { DROPS_LOCK, dropAll } from './drop-layers.ts';
import { measureLayers } from './measure.ts';
import { resolveEntry } from './resolve.ts';
import { bringTogether, needsAttention, takeSurvey } from './survey.ts';

const ADOPTION_TIMEOUT_MS = 60_000;

export class Upkeep {
  readonly #context: ReuseContext;
  readonly #locks: KeyedMutex;
  /** Whether the records have been compared with the runtime since the start. */
  #adopted = false;
  #adopting: Promise<void> | undefined;
  /** Said once each time it begins, not every round. */
  #missesSeveral = false;

  constructor(context: ReuseContext, locks: KeyedMutex) {
    this.#context = context;
    this.#locks = locks;
  }

  /**
   * Makes sure that layers which the store has lost are known again. Until then a container without a record may have
   * one, and must not begin with an empty layer.
   * @throws HoldfastError UNAVAILABLE while the runtime is away
   */
  async ensureAdopted(signal: AbortSignal): Promise<void> {
    if (this.#adopted) return;
    // Shared by all who wait, so none of them can cancel it.
    this.#adopting ??= this.#compare(true, AbortSignal.timeout(ADOPTION_TIMEOUT_MS)).finally(() => {
      this.#adopting = undefined;
    });
    try {
      await this.#adopting;
    } catch (cause) {
      throw new HoldfastError('UNAVAILABLE', 'writable layers could not be compared with the runtime yet', { cause });
    }
    signal.throwIfAborted();
  }

  /** Whatever cannot be done while the runtime is away is left to {@link Upkeep.reconcile}. */
  async recover(signal: AbortSignal): Promise<void> {
    try {
      await this.#resolveAll(signal);
      await this.ensureAdopted(signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#context.logger.warn(
        { error: describeError(error) },
        'writable layers could not be recovered completely yet; trying again on schedule',
      );
    }
  }

  /** Quick: the repair of drift and the end of holdings wait for it. */
  async reconcile(signal: AbortSignal): Promise<void> {
    await this.#resolveAll(signal);
    if (this.#adopted) await this.#compare(false, signal);
    else await this.ensureAdopted(signal);
  }

  /**
   * Measures layers, gives up what exceeds the budget, and removes what was given up. Walks through layers and waits for
   * the disk, so it has a schedule of its own: nothing urgent stands behind it.
   */
  async measure(signal: AbortSignal): Promise<void> {
    // What the records do not know yet cannot be weighed against the budget.
    if (!this.#adopted) return;
    await this.#drop();
    const layers = await layersOfRuntime(this.#context, signal);
    if (layers === undefined) return;
    await measureLayers(this.#context, this.#locks, layers, signal);
    await keepWithinBudget(this.#context, this.#locks, signal);
    await this.#drop();
  }

  async #drop(): Promise<void> {
    await this.#locks.run(DROPS_LOCK, () => dropAll(this.#context));
  }

  /** One that cannot be resolved must not keep the others from it. */
  async #resolveAll(signal: AbortSignal): Promise<void> {
    for (const key of this.#context.book.allEntries().keys()) {
      signal.throwIfAborted();
      try {
        await this.#locks.run(key, () => resolveEntry(this.#context, key), signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#context.logger.warn({ key, error: describeError(error) }, 'unfinished change left for later');
      }
    }
  }

  async #compare(adoptContainers: boolean, signal: AbortSignal): Promise<void> {
    const context = this.#context;
    const layers = await layersOfRuntime(context, signal);
    if (layers === undefined) {
      this.#adopted = true;
      return;
    }
    const survey = await takeSurvey(context, layers, signal);
    this.#warnOfOtherRuntime(survey.missesSeveral);
    const keys = new Set([...survey.seen.keys(), ...context.book.allLayers().keys()]);
    for (const key of keys) {
      if (!needsAttention(context, survey, key, adoptContainers)) continue;
      await this.#locks.run(
        key,
        async () => {
          // Records with an open change are brought together once it is resolved.
          if (context.book.entry(key) !== undefined) return;
          await bringTogether(context, survey, key, adoptContainers, signal);
        },
        signal,
      );
    }
    this.#adopted = true;
  }

  #warnOfOtherRuntime(missesSeveral: boolean): void {
    if (missesSeveral && !this.#missesSeveral) {
      const text =
        'the runtime knows none of several writable layers that are on record; was another runtime, or one with another root, started on the socket? The records are kept';
      this.#context.notices.add(text);
      this.#context.logger.warn({}, text);
    }
    this.#missesSeveral = missesSeveral;
  }
}
