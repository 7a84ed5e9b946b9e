// A runtime in memory, for tests of what stands above the interface. What a real runtime does is tested against containerd.
import { containerId, podUid, sandboxId } from '../../agent/model/ids.ts';
import type { ContainerRuntime, RuntimeContainerStatus, RuntimeSandbox } from '../../agent/runtime/runtime.ts';

export interface FakeRuntime extends ContainerRuntime {
  readonly sandboxes: Map<string, RuntimeSandbox>;
  readonly containers: Map<string, RuntimeContainerStatus>;
  /** What was asked of it that changes something, in order. */
  readonly log: string[];
}

export function fakeSandbox(id: string, uid: string, more: Partial<RuntimeSandbox> = {}): RuntimeSandbox {
  return {
    id: sandboxId(id),
    podUid: podUid(uid),
    podNamespace: 'default',
    podName: `pod-${uid}`,
    attempt: 0,
    ready: true,
    createdAt: 1,
    labels: {},
    annotations: {},
    ...more,
  };
}

export function fakeContainer(
  id: string,
  sandbox: RuntimeSandbox,
  name: string,
  more: Partial<RuntimeContainerStatus> = {},
): RuntimeContainerStatus {
  return {
    id: containerId(id),
    sandboxId: sandbox.id,
    podUid: sandbox.podUid,
    podNamespace: sandbox.podNamespace,
    podName: sandbox.podName,
    name,
    attempt: 0,
    state: 'running',
    createdAt: 1,
    image: 'image',
    labels: {},
    annotations: {},
    startedAt: 0,
    finishedAt: 0,
    exitCode: 0,
    ...more,
  };
}

export function fakeRuntime(): FakeRuntime {
  const sandboxes = new Map<string, RuntimeSandbox>();
  const containers = new Map<string, RuntimeContainerStatus>();
  const log: string[] = [];
  return {
    sandboxes,
    containers,
    log,
    version: async () => ({ name: 'fake', version: '0' }),
    listSandboxes: async () => [...sandboxes.values()],
    listContainers: async (_signal, uid) =>
      [...containers.values()].filter(({ podUid }) => uid === undefined || podUid === uid),
    sandboxStatus: async (id) => sandboxes.get(id),
    containerStatus: async (id) => containers.get(id),
    processId: async () => undefined,
    processIds: async () => new Map(),
    stopContainer: async (id) => {
      log.push(`stop ${id}`);
      const container = containers.get(id);
      if (container !== undefined) containers.set(id, { ...container, state: 'exited' });
    },
    removeContainer: async (id) => {
      log.push(`remove ${id}`);
      containers.delete(id);
    },
    updateCpuset: async (id, cpus, mems) => {
      log.push(`update ${id} ${cpus.toString()} ${mems?.toString() ?? '-'}`);
    },
    layers: undefined,
    specs: undefined,
    close: () => {},
  };
}
