// What passes and what is refused while the agent is away or hangs (design: "When the agent is away or hangs"). Pure.
import { create } from '@bufbuild/protobuf';
import { parsePodPolicy } from '../../agent/model/annotations.ts';
import { type ContainerPolicy, DEFAULT_POLICY, isProtected, policyOf } from '../../agent/model/policy.ts';
import {
  POLICY_ANNOTATION,
  readContainerStamp,
  readPodStamp,
  stampContainerPolicy,
} from '../../agent/model/policy-stamp.ts';
import { HoldfastError } from '../../lib/errors.ts';
import { type Adjustment, AdjustmentSchema } from '../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';

type Annotations = Readonly<Record<string, string>>;

/** The values that make a policy protected, as the user wrote them: `restart: reuse, numa: required`. */
function describeProtection({ restart, cpuset, numa }: ContainerPolicy): string {
  const reasons = [
    ...(restart === 'reuse' ? ['restart: reuse'] : []),
    ...(cpuset === 'exclusive' ? ['cpuset: exclusive'] : []),
    ...(numa === 'required' ? ['numa: required'] : []),
  ];
  return reasons.join(', ');
}

function refuse(what: string, why: string, risk: string, agentProblem: string): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `${what} ${why}, and ${risk} while the agent is away (${agentProblem}); the kubelet tries again`,
  );
}

/** What is known about a container that shall be created. */
export interface CreationFacts {
  readonly containerName: string;
  /** Of the pod, from the request. */
  readonly podAnnotations: Annotations;
  /** Of the sandbox, from the runtime: they carry the policy that the agent put into force. */
  readonly sandboxAnnotations: Annotations;
  /** The shared CPU mask that the agent published last; undefined when there is none. */
  readonly sharedCpus: string | undefined;
  readonly agentProblem: string;
}

/**
 * A default container is created inside the shared CPUs and marked as one. The policy is the stamped one and the one
 * in the annotations: whichever protects more wins, since a namespace's defaults are only in the stamp.
 * @throws HoldfastError UNAVAILABLE when the container's data, CPUs or place could be lost; INVALID_REQUEST when an
 *   annotation has a value that does not exist
 */
export function planCreationWithoutAgent(facts: CreationFacts): Adjustment {
  const { containerName, agentProblem } = facts;
  const what = `container "${containerName}"`;
  const risk = 'it could begin without its data, CPUs or memory node';
  const asked = policyOf(parsePodPolicy(facts.podAnnotations, DEFAULT_POLICY), containerName);
  let stamped: ContainerPolicy | undefined;
  try {
    const pod = readPodStamp(facts.sandboxAnnotations);
    stamped = pod === undefined ? undefined : policyOf(pod, containerName);
  } catch {
    throw refuse(what, `is in a sandbox whose annotation ${POLICY_ANNOTATION} cannot be read`, risk, agentProblem);
  }
  for (const policy of [stamped, asked]) {
    if (policy !== undefined && isProtected(policy)) {
      throw refuse(what, `has ${describeProtection(policy)}`, risk, agentProblem);
    }
  }
  return create(AdjustmentSchema, {
    annotations: { [POLICY_ANNOTATION]: stampContainerPolicy(stamped ?? asked) },
    ...(facts.sharedCpus === undefined ? {} : { cpusetCpus: facts.sharedCpus }),
  });
}

/** A container that would be removed. */
export interface RemovalFacts {
  readonly id: string;
  readonly name: string;
  readonly annotations: Annotations;
}

/**
 * @param containers - all that the call would remove
 * @throws HoldfastError UNAVAILABLE when one of them is protected: its layer would be destroyed
 */
export function planRemovalWithoutAgent(containers: readonly RemovalFacts[], agentProblem: string): void {
  for (const { id, name, annotations } of containers) {
    const what = `container "${name}" (${id})`;
    const risk = 'removing it would destroy data that the pod may still own';
    let policy: ContainerPolicy | undefined;
    try {
      policy = readContainerStamp(annotations);
    } catch {
      throw refuse(what, `has an annotation ${POLICY_ANNOTATION} that cannot be read`, risk, agentProblem);
    }
    if (policy !== undefined && isProtected(policy)) {
      throw refuse(what, `has ${describeProtection(policy)}`, risk, agentProblem);
    }
  }
}
