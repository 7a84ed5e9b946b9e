// Sets the CPUs, memory nodes and CPU quota of a running container by CRI: what uninstalling gives back, without an agent.
import { create } from '@bufbuild/protobuf';
import {
  LinuxContainerResourcesSchema,
  RuntimeService,
  UpdateContainerResourcesRequestSchema,
} from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { CpuSet } from '../model/cpu-set.ts';
import { openConnection } from './connection.ts';

export interface CpuLimits {
  readonly cpus: CpuSet;
  /** undefined: they stay as they are. */
  readonly mems: CpuSet | undefined;
  /** Microseconds per 100 ms; undefined: it stays as it is. */
  readonly quota: number | undefined;
}

export interface CpuLimitsClient {
  /** @throws HoldfastError NOT_FOUND when the container is gone, UNAVAILABLE or HOST_FAILURE from the runtime */
  set(containerId: string, limits: CpuLimits, signal: AbortSignal): Promise<void>;
  close(): void;
}

const PERIOD_MICROSECONDS = 100_000n;
const CALL_TIMEOUT_MS = 30_000;

/** @param socket - the runtime's own, never the shim's */
export function openCpuLimits(socket: string): CpuLimitsClient {
  const connection = openConnection(socket);
  return {
    set: async (containerId, { cpus, mems, quota }, signal) => {
      const linux = create(LinuxContainerResourcesSchema, {
        cpusetCpus: cpus.toString(),
        cpusetMems: mems?.toString() ?? '',
        ...(quota === undefined ? {} : { cpuQuota: BigInt(quota), cpuPeriod: PERIOD_MICROSECONDS }),
      });
      const request = create(UpdateContainerResourcesRequestSchema, { containerId, linux });
      const { method } = RuntimeService;
      await connection.call(method.updateContainerResources, request, {
        servicePath: RuntimeService.typeName,
        timeoutMs: CALL_TIMEOUT_MS,
        signal,
      });
    },
    close: () => connection.close(),
  };
}
