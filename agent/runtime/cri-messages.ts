// From CRI messages to the runtime's types. Pure.
import type { Container, ContainerStatus, PodSandbox } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { ContainerState as CriState, PodSandboxState } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { containerId, podUid, sandboxId } from '../model/ids.ts';
import type { ContainerState } from '../model/pod.ts';
import type { RuntimeContainer, RuntimeContainerStatus, RuntimeSandbox } from './runtime.ts';

const LABEL_POD_UID = 'io.kubernetes.pod.uid';
const LABEL_POD_NAMESPACE = 'io.kubernetes.pod.namespace';
const LABEL_POD_NAME = 'io.kubernetes.pod.name';

const STATES: Readonly<Record<CriState, ContainerState>> = {
  [CriState.CONTAINER_CREATED]: 'created',
  [CriState.CONTAINER_RUNNING]: 'running',
  [CriState.CONTAINER_EXITED]: 'exited',
  [CriState.CONTAINER_UNKNOWN]: 'unknown',
};

/** CRI counts nanoseconds. */
export function toMilliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000n);
}

/** A number that we do not know (a newer CRI) reads as `unknown`. */
export function readState(state: CriState): ContainerState {
  return STATES[state] ?? 'unknown';
}

type SandboxFields = Pick<PodSandbox, 'id' | 'metadata' | 'state' | 'createdAt' | 'labels' | 'annotations'>;

/** Works for both PodSandbox and PodSandboxStatus. */
export function readSandbox({ id, metadata, state, createdAt, labels, annotations }: SandboxFields): RuntimeSandbox {
  return {
    id: sandboxId(id),
    podUid: podUid(metadata?.uid ?? ''),
    podNamespace: metadata?.namespace ?? '',
    podName: metadata?.name ?? '',
    attempt: metadata?.attempt ?? 0,
    ready: state === PodSandboxState.SANDBOX_READY,
    createdAt: toMilliseconds(createdAt),
    labels,
    annotations,
  };
}

type ContainerFields = Pick<
  Container,
  'id' | 'metadata' | 'image' | 'state' | 'createdAt' | 'labels' | 'annotations' | 'podSandboxId'
>;

export function readContainer({ id, metadata, labels, annotations, ...fields }: ContainerFields): RuntimeContainer {
  return {
    id: containerId(id),
    sandboxId: sandboxId(fields.podSandboxId),
    podUid: podUid(labels[LABEL_POD_UID] ?? ''),
    podNamespace: labels[LABEL_POD_NAMESPACE] ?? '',
    podName: labels[LABEL_POD_NAME] ?? '',
    name: metadata?.name ?? '',
    attempt: metadata?.attempt ?? 0,
    state: readState(fields.state),
    createdAt: toMilliseconds(fields.createdAt),
    image: fields.image?.image ?? '',
    labels,
    annotations,
  };
}

/** @param podSandboxId - ContainerStatus does not name the sandbox; ListContainers does */
export function readContainerStatus(status: ContainerStatus, podSandboxId: string): RuntimeContainerStatus {
  return {
    ...readContainer({ ...status, podSandboxId }),
    startedAt: toMilliseconds(status.startedAt),
    finishedAt: toMilliseconds(status.finishedAt),
    exitCode: status.exitCode,
  };
}

/** The `pid` in the JSON that containerd and CRI-O give as `info["info"]` to a verbose status; undefined without one. */
export function readVerbosePid(info: Readonly<Record<string, string>>): number | undefined {
  const text = info['info'];
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Another runtime's free text: it does not say.
    return undefined;
  }
  const pid = typeof value === 'object' && value !== null && 'pid' in value ? value.pid : undefined;
  return typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
}
