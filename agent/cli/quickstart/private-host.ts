// A host in small: a private containerd, and on it the agent and the cri-shim as real processes with files of their own.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { stringify } from 'yaml';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import { RuntimeService, VersionRequestSchema } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import { CriClient } from './cri-client.ts';
import { podManifests } from './pod-manifests.ts';
import type { PodDescription } from './pod-requests.ts';
import { type PrivateContainerd, type PrivateContainerdOptions, startPrivateContainerd } from './private-containerd.ts';
import { createProgram, type Program } from './program.ts';

const CALL_TIMEOUT_MS = 2_000;

type ExtraConfig = Readonly<Record<string, unknown>>;

export interface PrivateHostOptions extends PrivateContainerdOptions {
  /** What PodSource knows; see {@link PrivateHost.writePods}. */
  readonly pods?: readonly PodDescription[];
  /** Merged over the configuration, by top-level key; a function gets the directory when only containerd runs. */
  readonly config?: ExtraConfig | ((directory: string) => Promise<ExtraConfig>);
  /** Of the agent, added to this process's. */
  readonly agentEnv?: Readonly<Record<string, string>>;
  /** Called as each part is up. */
  readonly onProgress?: (what: string) => void;
}

export interface PrivateHost {
  readonly containerd: PrivateContainerd;
  readonly agent: Program;
  readonly shim: Program;
  /** A kubelet whose CRI socket is the shim's. */
  readonly kubelet: CriClient;
  /** The same pods, past the shim: to look at them, and to be a runtime that changes behind our back. */
  readonly direct: CriClient;
  readonly agentSocket: string;
  readonly topologySocket: string;
  /** Holds the agent's store. */
  readonly stateDirectory: string;
  readonly configFile: string;
  /** Replaces the file of PodSource: a pod that is left out was deleted. */
  readonly writePods: (pods: readonly PodDescription[]) => Promise<void>;
  /** Stops everything and removes it; can be called again. */
  readonly stop: () => Promise<void>;
}

/** The cri-shim's socket: what the kubelet of this host is pointed at. */
export function criSocket(directory: string): string {
  return join(directory, 'run', 'cri.sock');
}

async function agentServes(socketPath: string): Promise<boolean> {
  const client = connectUnix(socketPath);
  try {
    const request = create(HealthCheckRequestSchema);
    const response = await callUnary(client, Health.method.check, request, { timeoutMs: CALL_TIMEOUT_MS });
    return response.status === Serving.SERVING;
  } finally {
    client.close();
  }
}

async function shimServes(socketPath: string): Promise<boolean> {
  const client = connectUnix(socketPath);
  try {
    const request = create(VersionRequestSchema);
    await callUnary(client, RuntimeService.method.version, request, { timeoutMs: CALL_TIMEOUT_MS });
    return true;
  } finally {
    client.close();
  }
}

/** Stops in the reverse order of starting; every part is tried, and the first failure is told. */
async function stopAll(steps: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/**
 * Starts the three programs. Nothing of the host's own containerd, kubelet or configuration is touched.
 * @throws HoldfastError as {@link startPrivateContainerd}, and HOST_FAILURE with a program's last words
 */
export async function startPrivateHost(options: PrivateHostOptions = {}): Promise<PrivateHost> {
  const containerd = await startPrivateContainerd(options);
  options.onProgress?.('containerd');
  const { directory, socketPath, cgroupParent } = containerd;
  const runDirectory = join(directory, 'run');
  const stateDirectory = join(directory, 'holdfast-state');
  const configFile = join(directory, 'config.yaml');
  const podsFile = join(directory, 'pods.json');
  const agentSocket = join(runDirectory, 'agent.sock');
  const shimSocket = criSocket(directory);
  const within = options.networkNamespace === undefined ? {} : { networkNamespace: options.networkNamespace };
  const agent = createProgram({
    name: 'agent',
    args: ['agent', '--config', configFile],
    logPath: join(directory, 'agent.log'),
    ready: () => agentServes(agentSocket),
    ...(options.agentEnv && { env: options.agentEnv }),
    ...within,
  });
  const shim = createProgram({
    name: 'cri-shim',
    args: [
      'cri-shim',
      '--listen',
      shimSocket,
      '--upstream',
      socketPath,
      '--agent',
      agentSocket,
      '--run-dir',
      runDirectory,
    ],
    logPath: join(directory, 'cri-shim.log'),
    ready: () => shimServes(shimSocket),
    ...within,
  });
  const kubelet = new CriClient({ socketPath: shimSocket, directory, cgroupParent });
  const direct = new CriClient(containerd);
  const writePods = async (pods: readonly PodDescription[]): Promise<void> => {
    await writeFile(`${podsFile}.new`, podManifests(pods));
    await rename(`${podsFile}.new`, podsFile);
  };
  const close = async (): Promise<void> => {
    kubelet.close();
    direct.close();
  };
  const stop = (): Promise<void> => stopAll([close, shim.stop, agent.stop, containerd.stop]);
  try {
    await mkdir(runDirectory, { mode: 0o755 });
    await writePods(options.pods ?? []);
    const config = {
      apiVersion: 'holdfast.dev/v1',
      kind: 'AgentConfig',
      runtime: { endpoint: socketPath },
      paths: { state: stateDirectory, run: runDirectory },
      podSource: { file: podsFile, staticManifests: 'off' },
      // The host's own kubelet, if there is one, reserves CPUs for a host that this one is not.
      cpuset: { reservedCpus: '' },
      metrics: { address: 'off' },
      ...(typeof options.config === 'function' ? await options.config(directory) : options.config),
    };
    await writeFile(configFile, stringify(config));
    await agent.start(options.signal && { signal: options.signal });
    options.onProgress?.('agent');
    await shim.start(options.signal && { signal: options.signal });
    options.onProgress?.('cri-shim');
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    containerd,
    agent,
    shim,
    kubelet,
    direct,
    agentSocket,
    topologySocket: join(runDirectory, 'topology.sock'),
    stateDirectory,
    configFile,
    writePods,
    stop,
  };
}
