// What the agent does when nobody asks: recovering at start, and reconciling on a schedule.
import type { Logger } from 'pino';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { PodSource } from '../cluster/pod-source.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import type { Feature } from './feature.ts';
import type { Holdings } from './holdings.ts';
import { refreshRegistry } from './listing.ts';
import type { Registry } from './registry.ts';

export interface UpkeepOptions {
  readonly features: readonly Feature[];
  readonly registry: Registry;
  readonly holdings: Holdings;
  readonly runtime: ContainerRuntime;
  readonly podSource: PodSource;
  readonly logger: Logger;
  /** Counts a feature's reconciling that failed. */
  readonly onFailure: (feature: string) => void;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  #recovered = false;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  get recovered(): boolean {
    return this.#recovered;
  }

  /** @throws HoldfastError UNAVAILABLE until {@link recover} has succeeded once: before it, answers would be guesses. */
  requireRecovered(): void {
    if (this.#recovered) return;
    throw new HoldfastError('UNAVAILABLE', 'the agent has not yet read the state of the runtime');
  }

  /** Rebuilds every feature's view. May be called until it succeeds, and not at the same time as `reconcile`. */
  async recover(signal: AbortSignal): Promise<void> {
    const { features, registry, runtime, podSource } = this.#options;
    await refreshRegistry(registry, runtime, podSource, signal);
    for (const feature of features) await feature.recover?.(signal);
    this.#recovered = true;
  }

  /** Recovers when that is still to be done; then finds and repairs drift, and ends the holdings of pods that are gone. */
  async reconcile(signal: AbortSignal): Promise<void> {
    if (!this.#recovered) {
      await this.recover(signal);
      return;
    }
    const { features, registry, runtime, podSource, holdings, logger, onFailure } = this.#options;
    await refreshRegistry(registry, runtime, podSource, signal);
    await holdings.endWhereDue(signal);
    for (const feature of features) {
      try {
        await feature.reconcile?.(signal);
      } catch (error) {
        signal.throwIfAborted();
        onFailure(feature.name);
        logger.warn({ feature: feature.name, error: describeError(error) }, 'reconciling failed; trying again later');
      }
    }
  }
}
