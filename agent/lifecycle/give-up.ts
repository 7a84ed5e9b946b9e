// Tells the platform of pods that it bound to this host and for which there is no room, so that their controllers make
// new ones, which the scheduler may place elsewhere.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import type { EndPodOutcome, PodEnder } from '../cluster/end-pod.ts';
import type { PodSource } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';
import type { Feature } from './feature.ts';
import type { LifecycleLocks } from './locks.ts';
import { type GivingUp, planGiveUp } from './plan-give-up.ts';
import type { Refusal, Refusals } from './refusals.ts';
import type { Registry } from './registry.ts';

export interface GiveUpOptions {
  readonly refusals: Refusals;
  readonly features: readonly Feature[];
  readonly registry: Registry;
  readonly podSource: PodSource;
  readonly locks: LifecycleLocks;
  /** Milliseconds, see {@link planGiveUp}. */
  readonly afterMs: number;
  /** Opens the way to the cluster. It may take its time: nobody waits for it. */
  readonly openCluster: (signal: AbortSignal) => Promise<PodEnder>;
  readonly logger: Logger;
  readonly onGivenUp: (result: 'ended' | 'failed') => void;
}

export class GiveUp {
  readonly #options: GiveUpOptions;
  /** What failed at the last look: it was told then, and is not told again as long as it goes on. */
  #failing: ReadonlySet<string> = new Set();
  /** The next look goes on after it: a pod that is never answered for keeps no other one from its turn. */
  #triedLast: PodUid | undefined;

  constructor(options: GiveUpOptions) {
    this.#options = options;
  }

  /** One look at what was refused; what the cluster does not take is tried again at the next. */
  async giveUpWhereDue(signal: AbortSignal): Promise<void> {
    const { giveUp, forget } = this.#plan();
    for (const { uid } of forget) this.#options.refusals.forget(uid);
    const failing = new Set<string>();
    if (giveUp.length > 0) await this.#giveUpAll(giveUp, failing, signal);
    this.#failing = failing;
  }

  async #giveUpAll(due: readonly Refusal[], failing: Set<string>, signal: AbortSignal): Promise<void> {
    try {
      const cluster = await this.#options.openCluster(signal);
      try {
        for (const refusal of this.#inTurn(due)) {
          signal.throwIfAborted();
          this.#triedLast = refusal.uid;
          const outcome = await this.#giveUp(refusal, cluster, signal);
          if (outcome?.kind !== 'refused') continue;
          const { uid, namespace, name } = refusal;
          this.#failed(failing, `${outcome.httpCode}`, { pod: uid, namespace, name, error: outcome.why });
        }
      } finally {
        cluster.close();
      }
    } catch (error) {
      signal.throwIfAborted();
      // Nobody answers, or nobody is answered: asking for the other pods would only make their steps wait as well.
      const said = describeError(error);
      this.#failed(failing, said, { error: said });
    }
  }

  #inTurn(due: readonly Refusal[]): readonly Refusal[] {
    const next = due.findIndex(({ uid }) => uid === this.#triedLast) + 1;
    return [...due.slice(next), ...due.slice(0, next)];
  }

  /**
   * Under the locks of all the pod's steps: none of them finds room while the cluster is told that there is none.
   * @returns undefined when it need not be given up any more
   */
  async #giveUp(pod: Refusal, cluster: PodEnder, signal: AbortSignal): Promise<EndPodOutcome | undefined> {
    const { podSource, locks } = this.#options;
    const containers = podSource.find(pod)?.containers.map(({ name }) => name) ?? [];
    return await locks.wholePod(
      pod.uid,
      containers,
      async () => {
        // It may have been placed, or have ended, while others were ended and this waited for its turn.
        const refusal = this.#plan().giveUp.find(({ uid }) => uid === pod.uid);
        return refusal === undefined ? undefined : await this.#end(refusal, cluster, signal);
      },
      signal,
    );
  }

  async #end(refusal: Refusal, cluster: PodEnder, signal: AbortSignal): Promise<EndPodOutcome> {
    const { refusals, logger, onGivenUp } = this.#options;
    const { uid, namespace, name, reason, since, until } = refusal;
    const waited = Math.round((until - since) / 1000);
    const outcome = await cluster.end(refusal, `no room on this node for ${waited} s: ${reason}`, signal);
    if (outcome.kind === 'gone') refusals.forget(uid);
    if (outcome.kind === 'ended') {
      refusals.ended(uid);
      logger.warn({ pod: uid, namespace, name, reason, waited }, 'given up: the node has no room for the pod');
      onGivenUp('ended');
    }
    return outcome;
  }

  /** @param what - the same text for the same trouble, whichever pod met it */
  #failed(failing: Set<string>, what: string, details: object): void {
    const { logger, onGivenUp } = this.#options;
    onGivenUp('failed');
    const isTold = failing.has(what) || this.#failing.has(what);
    failing.add(what);
    if (!isTold)
      logger.warn(details, 'pods could not be given up; trying again, without another warning for the same reason');
  }

  #plan(): GivingUp {
    const { refusals, podSource, afterMs } = this.#options;
    return planGiveUp(refusals.list(), {
      afterMs,
      phaseOf: (pod) => podSource.phaseOf(pod),
      factsOf: (pod) => podSource.find(pod),
      holdsSomething: this.#holding(),
    });
  }

  #holding(): (uid: PodUid) => boolean {
    const { features, registry } = this.#options;
    const held = new Set(features.flatMap((feature) => feature.pods?.() ?? []).map(({ uid }) => uid));
    return (uid) => held.has(uid) || registry.containersOf(uid).some(({ state }) => state !== 'exited');
  }
}
