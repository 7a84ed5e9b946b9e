// From a pod of the Kubernetes API to what it asks of the planner, as the agent itself would read it. Pure.

import { type ContainerAsk, type Need, sumNeeds } from '../../agent/cpuset/plan-need.ts';
import { describeAsk, type PodIdentity, type PodNeed } from '../../agent/cpuset/plan-pod.ts';
import { askOf } from '../../agent/cpuset/pod-asks.ts';
import { type PolicyDecision, type PolicyRules, planPolicy } from '../../agent/lifecycle/plan-policy.ts';
import type { PodUid } from '../../agent/model/ids.ts';
import type { PodFacts } from '../../agent/model/pod.ts';
import { type NumaPolicy, type PodPolicy, policyOf } from '../../agent/model/policy.ts';
import { describeError, HoldfastError } from '../../lib/errors.ts';

/** What a pod will ask of the node that it comes to. */
export interface PodAsk {
  readonly identity: PodIdentity;
  readonly need: PodNeed;
  /** Equal for pods that get the same answers. */
  readonly key: string;
  /** The strictest of the pod and its containers. */
  readonly numa: NumaPolicy;
  /** All of the pod together, when that is how it is placed: then counting says whether it fits. */
  readonly together: Need | undefined;
  /** At least as much as it can take of any one NUMA node. */
  readonly most: Need;
  /** It takes CPUs or a NUMA node, not an estimate of memory alone. */
  readonly isFirm: boolean;
}

/** A pod that every node will refuse, and why. */
export interface Impossible {
  readonly uid: PodUid;
  readonly refused: string;
}

export function isImpossible(ask: PodAsk | Impossible): ask is Impossible {
  return 'refused' in ask;
}

/** Characters of a refusal: it is repeated for every node, and quotes what the pod's author wrote. */
const MOST_TOLD = 500;

function strictest(policies: readonly NumaPolicy[]): NumaPolicy {
  if (policies.includes('required')) return 'required';
  return policies.includes('preferred') ? 'preferred' : 'none';
}

function podWide({ numaScope, numa }: ContainerAsk): boolean {
  return numaScope === 'pod' && numa !== 'none';
}

/** Every container's need added up, whatever runs beside what. */
function sumOfAll(containers: readonly ContainerAsk[]): Need {
  return sumNeeds(containers.map((container) => ({ ...container, kind: 'app' })));
}

/** What the agent's error says. @throws what is none of its refusals */
function refusal(uid: PodUid, error: unknown): Impossible {
  if (!(error instanceof HoldfastError)) throw error;
  const told = describeError(error);
  return { uid, refused: told.length <= MOST_TOLD ? told : `${told.slice(0, MOST_TOLD)}…` };
}

/**
 * @param rules - what the nodes' configuration says about policies
 * @returns why not, where every agent will refuse the sandbox: the policy cannot be read or is denied, or the pod is to
 *   come from one NUMA node, by its annotations or its namespace's defaults, and asks for what no node can grant. Other
 *   mistakes of a pod are not the scheduler's business, and it counts as one that asks for nothing
 */
export function planAsk(facts: PodFacts, rules: PolicyRules): PodAsk | Impossible {
  const { uid, namespace } = facts;
  let decision: PolicyDecision;
  try {
    decision = planPolicy(namespace, Object.fromEntries(facts.annotations), rules);
  } catch (error) {
    return refusal(uid, error);
  }
  const { policy } = decision;
  const numa = strictest(facts.containers.map(({ name }) => policyOf(policy, name).numa));
  try {
    return askUnder(policy, numa, facts);
  } catch (error) {
    const refused = refusal(uid, error);
    return numa === 'required' ? refused : asksNothing(facts);
  }
}

/** @throws HoldfastError INVALID_REQUEST where CPUs that are not whole are to be owned */
function askUnder(policy: PodPolicy, numa: NumaPolicy, { uid, namespace, name, containers: specs }: PodFacts): PodAsk {
  const containers = specs.map((spec) => askOf(spec.name, spec.kind, policyOf(policy, spec.name), spec));
  const need: PodNeed = { basis: 'spec', containers };
  const isTogether = containers.length > 0 && containers.every(podWide);
  return {
    identity: { uid, namespace, name, numa: policy.numa },
    need,
    key: describeAsk(policy.numa, need),
    numa,
    together: isTogether ? sumNeeds(containers) : undefined,
    most: sumOfAll(containers),
    isFirm: numa !== 'none' || containers.some(({ cpuset }) => cpuset === 'exclusive'),
  };
}

function asksNothing({ uid, namespace, name }: PodFacts): PodAsk {
  const need: PodNeed = { basis: 'containers' };
  const nothing = sumNeeds([]);
  const identity: PodIdentity = { uid, namespace, name, numa: 'none' };
  return { identity, need, key: '', numa: 'none', together: undefined, most: nothing, isFirm: false };
}
