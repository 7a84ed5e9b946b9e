// Which pods the platform should place elsewhere: they were bound to this host, and it had no room for them for too long.
import type { PodPhase } from '../cluster/pod-source.ts';
import type { PodUid } from '../model/ids.ts';
import type { PodFacts } from '../model/pod.ts';
import type { Refusal } from './refusals.ts';

export interface GiveUpRules {
  /** Milliseconds from the first refusal to the one at which the pod is given up. */
  readonly afterMs: number;
  readonly phaseOf: (pod: Refusal) => PodPhase;
  /** undefined where nobody knows. */
  readonly factsOf: (pod: Refusal) => PodFacts | undefined;
  /** A container of the pod runs or may run here, or something is kept for it: it goes nowhere else without a loss. */
  readonly holdsSomething: (uid: PodUid) => boolean;
}

export interface GivingUp {
  readonly giveUp: readonly Refusal[];
  /** Nobody waits for these here any more. */
  readonly forget: readonly Refusal[];
}

/** Controllers that make the next pod for the same node. A mirror is controlled by its node. */
const BOUND_TO_NODES: ReadonlySet<string | undefined> = new Set(['DaemonSet', 'Node']);

/** @param refusals - of pods that were not placed since */
export function planGiveUp(refusals: readonly Refusal[], rules: GiveUpRules): GivingUp {
  const phases = refusals.map((refusal) => [refusal, rules.phaseOf(refusal)] as const);
  return {
    forget: phases.filter(([, phase]) => phase === 'deleted' || phase === 'finished').map(([refusal]) => refusal),
    giveUp: phases
      // `deleting` is on its way already; of `unknown` nobody can say that it is the cluster's to end.
      .filter(([refusal, phase]) => phase === 'present' && isDue(refusal, rules))
      .map(([refusal]) => refusal),
  };
}

function isDue(refusal: Refusal, { afterMs, factsOf, holdsSomething }: GiveUpRules): boolean {
  const { uid, since, until } = refusal;
  return until - since >= afterMs && !holdsSomething(uid) && mayGoElsewhere(factsOf(refusal));
}

/** A pod of which only the name is known may be one of those that cannot. */
function mayGoElsewhere(facts: PodFacts | undefined): boolean {
  return facts !== undefined && facts.isStatic !== true && !BOUND_TO_NODES.has(facts.controllerKind);
}
