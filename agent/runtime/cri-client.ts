// CRI as a client: runtime.v1, and the message-compatible runtime.v1alpha2 where the runtime has only that.
import { create, type MessageShape } from '@bufbuild/protobuf';
import {
  type Container,
  type ContainerFilter,
  ContainerFilterSchema,
  ContainerState,
  ContainerStateValueSchema,
  ContainerStatusRequestSchema,
  type ContainerStatusResponse,
  LinuxContainerResourcesSchema,
  ListContainersRequestSchema,
  ListPodSandboxRequestSchema,
  type PodSandbox,
  type PodSandboxStatus,
  PodSandboxStatusRequestSchema,
  RemoveContainerRequestSchema,
  RuntimeService,
  StopContainerRequestSchema,
  UpdateContainerResourcesRequestSchema,
  VersionRequestSchema,
  type VersionResponse,
} from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import { hasCode, type RuntimeConnection, type UnaryMethod, unlessMissing } from './connection.ts';

/** For calls that only read or change records of the runtime. */
const CALL_TIMEOUT_MS = 10_000;
/** What the runtime itself may take beyond the grace period: killing, unmounting, removing files. */
const SLOW_CALL_TIMEOUT_MS = 60_000;

const OLD_SERVICE = 'runtime.v1alpha2.RuntimeService';

export interface ContainerQuery {
  readonly podUid?: string;
  readonly running?: boolean;
  readonly id?: string;
}

export interface CriClient {
  /** Also finds out which version of CRI the runtime speaks; has to come first on a connection. */
  version(signal: AbortSignal): Promise<VersionResponse>;
  listSandboxes(signal: AbortSignal): Promise<readonly PodSandbox[]>;
  listContainers(query: ContainerQuery, signal: AbortSignal): Promise<readonly Container[]>;
  sandboxStatus(id: string, signal: AbortSignal): Promise<PodSandboxStatus | undefined>;
  containerStatus(id: string, verbose: boolean, signal: AbortSignal): Promise<ContainerStatusResponse | undefined>;
  stopContainer(id: string, graceSeconds: number, signal: AbortSignal): Promise<void>;
  removeContainer(id: string, signal: AbortSignal): Promise<void>;
  updateCpuset(id: string, cpus: CpuSet, mems: CpuSet | undefined, signal: AbortSignal): Promise<void>;
}

function containerFilter({ podUid, running, id }: ContainerQuery): ContainerFilter {
  return create(ContainerFilterSchema, {
    id: id ?? '',
    ...(running === true
      ? { state: create(ContainerStateValueSchema, { state: ContainerState.CONTAINER_RUNNING }) }
      : {}),
    ...(podUid === undefined ? {} : { labelSelector: { 'io.kubernetes.pod.uid': podUid } }),
  });
}

export function createCriClient(connection: RuntimeConnection): CriClient {
  let servicePath: string = RuntimeService.typeName;
  const { method } = RuntimeService;

  const call = <Method extends UnaryMethod>(
    called: Method,
    request: MessageShape<Method['input']>,
    signal: AbortSignal,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<MessageShape<Method['output']>> => connection.call(called, request, { servicePath, timeoutMs, signal });

  return {
    version: async (signal) => {
      const request = create(VersionRequestSchema);
      servicePath = RuntimeService.typeName;
      try {
        return await call(method.version, request, signal);
      } catch (error) {
        if (!hasCode(error, 'UNSUPPORTED')) throw error;
        servicePath = OLD_SERVICE;
        return await call(method.version, request, signal);
      }
    },

    listSandboxes: async (signal) =>
      (await call(method.listPodSandbox, create(ListPodSandboxRequestSchema), signal)).items,

    listContainers: async (query, signal) => {
      const request = create(ListContainersRequestSchema, { filter: containerFilter(query) });
      return (await call(method.listContainers, request, signal)).containers;
    },

    sandboxStatus: async (podSandboxId, signal) => {
      const request = create(PodSandboxStatusRequestSchema, { podSandboxId });
      return (await unlessMissing(call(method.podSandboxStatus, request, signal)))?.status;
    },

    containerStatus: (containerId, verbose, signal) =>
      unlessMissing(
        call(method.containerStatus, create(ContainerStatusRequestSchema, { containerId, verbose }), signal),
      ),

    stopContainer: async (containerId, graceSeconds, signal) => {
      const request = create(StopContainerRequestSchema, { containerId, timeout: BigInt(graceSeconds) });
      await unlessMissing(call(method.stopContainer, request, signal, graceSeconds * 1000 + SLOW_CALL_TIMEOUT_MS));
    },

    removeContainer: async (containerId, signal) => {
      const request = create(RemoveContainerRequestSchema, { containerId });
      await unlessMissing(call(method.removeContainer, request, signal, SLOW_CALL_TIMEOUT_MS));
    },

    updateCpuset: async (containerId, cpus, mems, signal) => {
      const linux = create(LinuxContainerResourcesSchema, {
        cpusetCpus: cpus.toString(),
        cpusetMems: mems?.toString() ?? '',
      });
      const request = create(UpdateContainerResourcesRequestSchema, { containerId, linux });
      await call(method.updateContainerResources, request, signal);
    },
  };
}
