// Ends the holdings of pods that are gone: every feature gives back what it keeps for the pod UID.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import type { PodName, PodSource } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';
import type { ContainerState } from '../model/pod.ts';
import type { Feature, HoldingsEnd } from './feature.ts';
import type { LifecycleLocks } from './locks.ts';
import { type HeldPod, planHoldings } from './plan-holdings.ts';
import type { Registry } from './registry.ts';

export interface HoldingsOptions {
  readonly features: readonly Feature[];
  readonly registry: Registry;
  readonly podSource: PodSource;
  readonly gracePeriodMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly logger: Logger;
  readonly locks: LifecycleLocks;
  readonly onEnded: (why: HoldingsEnd) => void;
}

/** A runtime that could not load a task after its restart calls it unknown: the process may well live. */
function mayRun(state: ContainerState): boolean {
  return state === 'running' || state === 'unknown';
}

export class Holdings {
  readonly #options: HoldingsOptions;
  /** Since when a known pod has had no sandbox. Counted from the agent's start, as the kubelet may start with it. */
  readonly #withoutSandboxSince = new Map<PodUid, number>();
  /** Ended, but with a sandbox left that still names them. */
  readonly #ended = new Set<PodUid>();

  constructor(options: HoldingsOptions) {
    this.#options = options;
  }

  /** A sandbox is being made for the pod: whatever ended before, it holds again, and its grace period starts anew. */
  revive(uid: PodUid): void {
    this.#ended.delete(uid);
    this.#withoutSandboxSince.delete(uid);
  }

  /**
   * Ends what is due. The registry must have been refreshed. A pod whose holdings could not be ended stays, and is
   * tried again at the next call.
   */
  async endWhereDue(signal: AbortSignal): Promise<void> {
    const { gracePeriodMs, now, logger, locks } = this.#options;
    for (const { uid, why } of planHoldings(this.#heldPods(), now(), gracePeriodMs)) {
      signal.throwIfAborted();
      await locks.pod(uid, async () => {
        // A sandbox may have come while this waited for its turn.
        const still = planHoldings(this.#heldPods(), now(), gracePeriodMs).some((pod) => pod.uid === uid);
        if (!still) return;
        try {
          await this.#end(uid, why, signal);
        } catch (error) {
          logger.error(
            { pod: uid, why, error: describeError(error) },
            'holdings could not be ended; trying again later',
          );
        }
      });
    }
  }

  async #end(uid: PodUid, why: HoldingsEnd, signal: AbortSignal): Promise<void> {
    const { features, registry, logger, onEnded } = this.#options;
    const pod = registry.pod(uid);
    for (const feature of features) await feature.podGone?.(uid, why, signal);
    registry.forgetPod(uid);
    this.#withoutSandboxSince.delete(uid);
    this.#ended.add(uid);
    onEnded(why);
    logger.info({ pod: uid, namespace: pod?.namespace, name: pod?.name, why }, 'holdings ended');
  }

  #heldPods(): readonly HeldPod[] {
    const { registry, podSource } = this.#options;
    const names = this.#names();
    for (const uid of this.#ended) if (!registry.hasSandbox(uid)) this.#ended.delete(uid);
    for (const uid of this.#withoutSandboxSince.keys()) if (!names.has(uid)) this.#withoutSandboxSince.delete(uid);
    return [...names.values()]
      .filter(({ uid }) => !this.#ended.has(uid))
      .map((name) => ({
        uid: name.uid,
        phase: podSource.phaseOf(name),
        running: registry.containersOf(name.uid).some(({ state }) => mayRun(state)),
        withoutSandboxSince: this.#sinceWithoutSandbox(name.uid),
      }));
  }

  /** Every pod that may hold something: those that the features know, and those that the registry knows. */
  #names(): ReadonlyMap<PodUid, PodName> {
    const names = new Map<PodUid, PodName>();
    for (const name of this.#options.features.flatMap((feature) => feature.pods?.() ?? [])) names.set(name.uid, name);
    for (const { uid, namespace, name } of this.#options.registry.pods()) names.set(uid, { uid, namespace, name });
    return names;
  }

  #sinceWithoutSandbox(uid: PodUid): number | undefined {
    if (this.#options.registry.hasSandbox(uid)) {
      this.#withoutSandboxSince.delete(uid);
      return undefined;
    }
    const since = this.#withoutSandboxSince.get(uid) ?? this.#options.now();
    this.#withoutSandboxSince.set(uid, since);
    return since;
  }
}
