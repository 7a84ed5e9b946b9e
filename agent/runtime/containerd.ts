// The container runtime behind a CRI socket. Whether it is containerd, and with that whether writable layers and runtime
// specs are within reach, is found out at the first call and again whenever the connection had to be made anew.
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import type { Logger } from 'pino';
import { Version } from '../../proto/gen/wire/containerd/version/v1/version_pb.ts';
import { type ContainerId, containerId } from '../model/ids.ts';
import { hasCode, openConnection, type RuntimeConnection } from './connection.ts';
import { containerdCall } from './containerd-api.ts';
import { createLayerStore } from './containerd-layers.ts';
import { createSpecStore } from './containerd-specs.ts';
import { taskPid, taskPids } from './containerd-tasks.ts';
import { type CriClient, createCriClient } from './cri-client.ts';
import { readContainer, readContainerStatus, readSandbox, readVerbosePid } from './cri-messages.ts';
import type { ContainerRuntime, LayerStore, SpecStore } from './runtime.ts';

const DETECT_TIMEOUT_MS = 5_000;
/** Status calls side by side where the runtime has no call for all processes. */
const STATUS_CALLS_AT_ONCE = 8;

export interface RuntimeOptions {
  /** The runtime's unix socket, an absolute path. */
  readonly endpoint: string;
  readonly logger: Logger;
}

interface Detected {
  readonly name: string;
  readonly version: string;
  readonly layers: LayerStore | undefined;
  readonly specs: SpecStore | undefined;
}

/**
 * Opens the runtime. Nothing is called yet; `layers` and `specs` are undefined until the first call was answered, so ask
 * `version()` before concluding that they are missing. Once seen they stay while the runtime is away.
 */
export function openRuntime({ endpoint, logger }: RuntimeOptions): ContainerRuntime {
  const connection = openConnection(endpoint);
  const cri = createCriClient(connection);
  const containerd = containerdCall(connection);
  const containerdParts = { layers: createLayerStore(containerd), specs: createSpecStore(containerd) };
  let detected: Detected | undefined;

  const detect = async (signal: AbortSignal): Promise<Detected> => {
    const { runtimeName, runtimeVersion } = await cri.version(signal);
    const parts = (await isContainerd(connection, signal)) ? containerdParts : { layers: undefined, specs: undefined };
    const now: Detected = { name: runtimeName, version: runtimeVersion, ...parts };
    if (detected?.name !== now.name || detected.version !== now.version) {
      logger.info(
        { endpoint, name: now.name, version: now.version, layers: now.layers !== undefined },
        'runtime found',
      );
    }
    detected = now;
    return now;
  };

  /** What the runtime is; asked again after the connection broke, because another runtime may answer now. */
  const ready = async (signal: AbortSignal): Promise<Detected> =>
    detected !== undefined && connection.isConnected() ? detected : await detect(signal);

  return {
    version: async (signal) => {
      const { name, version } = await ready(signal);
      return { name, version };
    },
    listSandboxes: async (signal) => {
      await ready(signal);
      return (await cri.listSandboxes(signal)).map(readSandbox);
    },
    listContainers: async (signal, podUid) => {
      await ready(signal);
      return (await cri.listContainers(podUid === undefined ? {} : { podUid }, signal)).map(readContainer);
    },
    sandboxStatus: async (id, signal) => {
      await ready(signal);
      const status = await cri.sandboxStatus(id, signal);
      return status === undefined ? undefined : readSandbox(status);
    },
    containerStatus: async (id, signal) => {
      await ready(signal);
      const [answer, [listed]] = await Promise.all([
        cri.containerStatus(id, false, signal),
        cri.listContainers({ id }, signal),
      ]);
      if (answer?.status === undefined) return undefined;
      return readContainerStatus(answer.status, listed?.podSandboxId ?? '');
    },
    processId: async (id, signal) => {
      const { layers } = await ready(signal);
      return layers === undefined ? await verbosePid(cri, id, signal) : await taskPid(containerd, id, signal);
    },
    processIds: async (signal) => {
      const { layers } = await ready(signal);
      return layers === undefined ? await verbosePids(cri, signal) : await taskPids(containerd, signal);
    },
    stopContainer: async (id, graceSeconds, signal) => {
      await ready(signal);
      await cri.stopContainer(id, graceSeconds, signal);
    },
    removeContainer: async (id, signal) => {
      await ready(signal);
      await cri.removeContainer(id, signal);
    },
    updateCpuset: async (id, cpus, mems, signal) => {
      await ready(signal);
      await cri.updateCpuset(id, cpus, mems, signal);
    },
    get layers() {
      return detected?.layers;
    },
    get specs() {
      return detected?.specs;
    },
    close: () => connection.close(),
  };
}

/** containerd's version service is the cheapest of its own; CRI-O and cri-dockerd do not have it. */
async function isContainerd(connection: RuntimeConnection, signal: AbortSignal): Promise<boolean> {
  try {
    await connection.call(Version.method.version, create(EmptySchema), { timeoutMs: DETECT_TIMEOUT_MS, signal });
    return true;
  } catch (error) {
    if (hasCode(error, 'UNSUPPORTED')) return false;
    throw error;
  }
}

async function verbosePid(cri: CriClient, id: ContainerId, signal: AbortSignal): Promise<number | undefined> {
  const answer = await cri.containerStatus(id, true, signal);
  return answer === undefined ? undefined : readVerbosePid(answer.info);
}

async function verbosePids(cri: CriClient, signal: AbortSignal): Promise<ReadonlyMap<ContainerId, number>> {
  const running = await cri.listContainers({ running: true }, signal);
  const pids = new Map<ContainerId, number>();
  for (let start = 0; start < running.length; start += STATUS_CALLS_AT_ONCE) {
    const batch = running.slice(start, start + STATUS_CALLS_AT_ONCE).map(({ id }) => containerId(id));
    const found = await Promise.all(batch.map((id) => verbosePid(cri, id, signal)));
    for (const [index, id] of batch.entries()) {
      const pid = found[index];
      if (pid !== undefined) pids.set(id, pid);
    }
  }
  return pids;
}
