// Tells the platform of pods that it bound to this host and for which there is no room, so that their controllers make
// new ones, which the scheduler may place elsewhere.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import type { PodName, PodSource } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';
import type { Feature } from './feature.ts';
import { planGiveUp } from './plan-give-up.ts';
import type { Refusals } from './refusals.ts';
import type { Registry } from './registry.ts';

export interface GiveUpOptions {
  readonly refusals: Refusals;
  readonly features: readonly Feature[];
  readonly registry: Registry;
  readonly podSource: PodSource;
  /** Milliseconds, see {@link planGiveUp}. */
  readonly afterMs: number;
  /** Fails or deletes the pod in the cluster. @returns whether there was such a pod */
  readonly endPod: (pod: PodName, reason: string, signal: AbortSignal) => Promise<boolean>;
  readonly logger: Logger;
  readonly onGivenUp: (result: 'ended' | 'failed') => void;
}

function holdingPods({ features, registry }: GiveUpOptions): (uid: PodUid) => boolean {
  const held = new Set(features.flatMap((feature) => feature.pods?.() ?? []).map(({ uid }) => uid));
  return (uid) => held.has(uid) || registry.containersOf(uid).some(({ state }) => state !== 'exited');
}

/** One look at what was refused; what the cluster does not take is tried again at the next. */
export async function giveUpWhereDue(options: GiveUpOptions, signal: AbortSignal): Promise<void> {
  const { refusals, podSource, afterMs, endPod, logger, onGivenUp } = options;
  const { giveUp, forget } = planGiveUp(refusals.list(), {
    afterMs,
    phaseOf: (pod) => podSource.phaseOf(pod),
    holdsSomething: holdingPods(options),
  });
  for (const { uid } of forget) refusals.forget(uid);
  for (const refusal of giveUp) {
    signal.throwIfAborted();
    const { uid, namespace, name, reason, since, until } = refusal;
    const pod = { pod: uid, namespace, name };
    try {
      const waited = Math.round((until - since) / 1000);
      const found = await endPod(refusal, `no room on this node for ${waited} s: ${reason}`, signal);
      if (!found) {
        // A static pod, or one that went in this moment.
        refusals.forget(uid);
        continue;
      }
      logger.warn({ ...pod, reason, waited }, 'given up: the node has no room for the pod');
      onGivenUp('ended');
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ ...pod, error: describeError(error) }, 'a pod could not be given up; trying again later');
      onGivenUp('failed');
    }
  }
}
