// Pods and containers in the model's terms, from CRI messages and from what the runtime lists.
import { HoldfastError } from '../../lib/errors.ts';
import type { PodSandboxConfig } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { podUid } from '../model/ids.ts';
import type { Container, Pod, PodFacts } from '../model/pod.ts';
import { type ContainerPolicy, DEFAULT_POLICY, type PodPolicy } from '../model/policy.ts';
import { readContainerStamp, readPodStamp } from '../model/policy-stamp.ts';
import type { RuntimeContainer, RuntimeSandbox } from '../runtime/runtime.ts';
import { needFromCri } from './resource-need.ts';

/** Who the pod is, as the kubelet says in every PodSandboxConfig. @throws HoldfastError INVALID_REQUEST without a UID */
export function podNameFromCri(config: PodSandboxConfig | undefined): Pick<Pod, 'uid' | 'namespace' | 'name'> {
  const metadata = config?.metadata;
  if (metadata === undefined || metadata.uid === '') {
    throw new HoldfastError(
      'INVALID_REQUEST',
      'the pod sandbox config has no metadata.uid: holdings belong to a pod UID',
    );
  }
  return { uid: podUid(metadata.uid), namespace: metadata.namespace, name: metadata.name };
}

/** The pod that a sandbox config describes. */
export function podFromCri(config: PodSandboxConfig, policy: PodPolicy, facts: PodFacts | undefined): Pod {
  return {
    ...podNameFromCri(config),
    labels: new Map(Object.entries(config.labels)),
    annotations: new Map(Object.entries(config.annotations)),
    policy,
    cgroupParent: config.linux?.cgroupParent ?? '',
    sandboxResources: needFromCri(config.linux?.resources),
    ...(facts === undefined ? {} : { facts }),
  };
}

/**
 * The policy stamped at creation. A stamp that cannot be read is taken for the most careful policy: whatever the
 * container holds is then kept, and its steps are refused rather than guessed.
 */
function stampOr<Policy>(read: () => Policy | undefined, absent: Policy, damaged: Policy): Policy {
  try {
    return read() ?? absent;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'DAMAGED') return damaged;
    throw error;
  }
}

const CAREFUL_POLICY: ContainerPolicy = { ...DEFAULT_POLICY, restart: 'reuse' };

/** The pod of a sandbox that the runtime lists; what only RunPodSandbox said is empty. */
export function podFromRuntime(sandbox: RuntimeSandbox, facts: PodFacts | undefined): Pod {
  const none: PodPolicy = { ...DEFAULT_POLICY, containers: new Map() };
  const careful: PodPolicy = { ...CAREFUL_POLICY, containers: new Map() };
  return {
    uid: sandbox.podUid,
    namespace: sandbox.podNamespace,
    name: sandbox.podName,
    labels: new Map(Object.entries(sandbox.labels)),
    annotations: new Map(Object.entries(sandbox.annotations)),
    policy: stampOr(() => readPodStamp(sandbox.annotations), none, careful),
    cgroupParent: '',
    sandboxResources: { hugepages: new Map() },
    ...(facts === undefined ? {} : { facts }),
  };
}

/** The pod of a container whose sandbox is gone; the container's own policy is all that is left of the pod's. */
export function podFromContainer(listed: RuntimeContainer, policy: ContainerPolicy, facts: PodFacts | undefined): Pod {
  return {
    uid: listed.podUid,
    namespace: listed.podNamespace,
    name: listed.podName,
    labels: new Map(),
    annotations: new Map(),
    policy: { ...policy, containers: new Map() },
    cgroupParent: '',
    sandboxResources: { hugepages: new Map() },
    ...(facts === undefined ? {} : { facts }),
  };
}

export function containerFromRuntime(listed: RuntimeContainer): Container {
  return {
    id: listed.id,
    sandboxId: listed.sandboxId,
    podUid: listed.podUid,
    name: listed.name,
    attempt: listed.attempt,
    policy: stampOr(() => readContainerStamp(listed.annotations), DEFAULT_POLICY, CAREFUL_POLICY),
    state: listed.state,
  };
}
