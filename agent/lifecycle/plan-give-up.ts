// Which pods the platform should place elsewhere: they were bound to this host, and it had no room for them for too long.
import type { PodPhase } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';
import type { Refusal } from './refusals.ts';

export interface GiveUpRules {
  /** Milliseconds from the first refusal to the one at which the pod is given up. */
  readonly afterMs: number;
  readonly phaseOf: (pod: Refusal) => PodPhase;
  /** A container of the pod runs or may run here, or something is kept for it: it goes nowhere else without a loss. */
  readonly holdsSomething: (uid: PodUid) => boolean;
}

export interface GivingUp {
  readonly giveUp: readonly Refusal[];
  /** Nobody waits for these here any more. */
  readonly forget: readonly Refusal[];
}

/** @param refusals - of pods that were not placed since */
export function planGiveUp(refusals: readonly Refusal[], rules: GiveUpRules): GivingUp {
  const phases = refusals.map((refusal) => [refusal, rules.phaseOf(refusal)] as const);
  return {
    forget: phases.filter(([, phase]) => phase === 'deleted' || phase === 'finished').map(([refusal]) => refusal),
    giveUp: phases
      // `unknown` may be a static pod, which has no other host; `deleting` is on its way already.
      .filter(([{ uid, since, until }, phase]) => {
        return phase === 'present' && until - since >= rules.afterMs && !rules.holdsSomething(uid);
      })
      .map(([refusal]) => refusal),
  };
}
