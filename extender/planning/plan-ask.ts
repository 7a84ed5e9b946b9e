// From a pod of the Kubernetes API to what it asks of the planner, as the agent itself would read it. Pure.

import { type ContainerAsk, type Need, sumNeeds } from '../../agent/cpuset/plan-need.ts';
import { describeAsk, type PodIdentity, type PodNeed } from '../../agent/cpuset/plan-pod.ts';
import { askOf } from '../../agent/cpuset/pod-asks.ts';
import { type PolicyRules, planPolicy } from '../../agent/lifecycle/plan-policy.ts';
import type { PodUid } from '../../agent/model/ids.ts';
import type { PodFacts } from '../../agent/model/pod.ts';
import { type NumaPolicy, policyOf } from '../../agent/model/policy.ts';
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

const NUMA_ANNOTATION = /(?:^|\.)holdfast\.dev\/numa$/;

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

/**
 * @param rules - what the nodes' configuration says about policies
 * @returns why not, where the pod asks for `required` in a way that no node can grant; other mistakes of a pod are not
 *   the scheduler's business, and it counts as one that asks for nothing
 */
export function planAsk(facts: PodFacts, rules: PolicyRules): PodAsk | Impossible {
  const { uid, namespace, name } = facts;
  const annotations = Object.fromEntries(facts.annotations);
  try {
    const { policy } = planPolicy(namespace, annotations, rules);
    const containers = facts.containers.map((spec) => askOf(spec.name, spec.kind, policyOf(policy, spec.name), spec));
    const need: PodNeed = { basis: 'spec', containers };
    const isTogether = containers.length > 0 && containers.every(podWide);
    const numa = strictest(containers.map((container) => container.numa));
    return {
      identity: { uid, namespace, name, numa: policy.numa },
      need,
      key: describeAsk(policy.numa, need),
      numa,
      together: isTogether ? sumNeeds(containers) : undefined,
      most: sumOfAll(containers),
      isFirm: numa !== 'none' || containers.some(({ cpuset }) => cpuset === 'exclusive'),
    };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    const isRequired = [...facts.annotations].some(([key, value]) => NUMA_ANNOTATION.test(key) && value === 'required');
    if (isRequired) return { uid, refused: describeError(error) };
    return asksNothing(facts);
  }
}

function asksNothing({ uid, namespace, name }: PodFacts): PodAsk {
  const need: PodNeed = { basis: 'containers' };
  const nothing = sumNeeds([]);
  const identity: PodIdentity = { uid, namespace, name, numa: 'none' };
  return { identity, need, key: '', numa: 'none', together: undefined, most: nothing, isFirm: false };
}
