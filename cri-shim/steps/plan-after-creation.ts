// What becomes of a container that the runtime has created, by what the agent said about it. Pure.
import { status } from '@grpc/grpc-js';
import { parsePodPolicy } from '../../agent/model/annotations.ts';
import { DEFAULT_POLICY, isProtected, policyOf } from '../../agent/model/policy.ts';
import { readContainerStamp } from '../../agent/model/policy-stamp.ts';
import type { AgentAnswer } from '../agent-client.ts';
import type { GrpcStatus } from '../relay/answer.ts';

export interface CreatedFacts {
  readonly containerName: string;
  /** As they went to the runtime, with the agent's stamp. */
  readonly containerAnnotations: Readonly<Record<string, string>>;
  readonly podAnnotations: Readonly<Record<string, string>>;
}

export type AfterCreation =
  /** The creation has succeeded; with a problem, without the agent's knowledge. */
  | { readonly kind: 'answer'; readonly agentProblem?: string }
  /** The agent has taken back what it did: the container goes, and the caller gets the agent's words. */
  | { readonly kind: 'remove'; readonly status: GrpcStatus }
  /** The layer may be in the container: it goes only after the agent has kept the layer. */
  | { readonly kind: 'keep-then-remove'; readonly agentProblem: string };

/** Whether the stamp or, where the agent set none, the annotations protect it; what cannot be read counts as protected. */
function isProtectedCreation({ containerName, containerAnnotations, podAnnotations }: CreatedFacts): boolean {
  try {
    const stamped = readContainerStamp(containerAnnotations);
    if (stamped !== undefined) return isProtected(stamped);
    return isProtected(policyOf(parsePodPolicy(podAnnotations, DEFAULT_POLICY), containerName));
  } catch {
    return true;
  }
}

/** gRPC libraries answer with these codes by themselves, too; the agent's own words begin with its name. */
function isExplicit({ code, details }: GrpcStatus): boolean {
  const ambiguous = code === status.INTERNAL || code === status.UNKNOWN;
  return !ambiguous || details.startsWith('holdfast ');
}

/** @param confirmation - the agent's answer to containerCreated; `away` also when the caller gave up meanwhile */
export function planAfterCreation(confirmation: AgentAnswer<unknown>, facts: CreatedFacts): AfterCreation {
  if (confirmation.kind === 'answered') return { kind: 'answer' };
  const layerAtStake = isProtectedCreation(facts);
  if (confirmation.kind === 'refused') {
    if (!layerAtStake || isExplicit(confirmation.status)) return { kind: 'remove', status: confirmation.status };
    return { kind: 'keep-then-remove', agentProblem: confirmation.status.details };
  }
  if (layerAtStake) return { kind: 'keep-then-remove', agentProblem: confirmation.reason };
  return { kind: 'answer', agentProblem: confirmation.reason };
}
