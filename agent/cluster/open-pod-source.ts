// The pod sources that the configuration asks for: the API server, a file, the static-pod manifests, several, or none.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import type { HostTree } from '../host/host-tree.ts';
import { ApiCredentials } from './api-access.ts';
import { createApiMetrics } from './api-metrics.ts';
import { startApiPodSource } from './api-pod-source.ts';
import { combinePodSources } from './combined-pod-source.ts';
import { startFilePodSource } from './file-pod-source.ts';
import { findKubeletKubeconfig } from './kubelet-config.ts';
import type { PodSource } from './pod-source.ts';
import { startStaticManifestPodSource } from './static-manifest-pod-source.ts';

/** `off`, the kubelet's own credentials, or those of a kubeconfig file. */
export type ApiSetting = 'off' | 'kubelet' | { readonly kubeconfig: string };

export interface PodSourceOptions {
  readonly api: ApiSetting;
  /** Absent: no file. */
  readonly file?: string | undefined;
  /** Folder of the static-pod manifests; absent: none. */
  readonly staticManifests?: string | undefined;
  readonly nodeName: string;
  /** Where the kubelet is looked for. */
  readonly tree: HostTree;
  readonly metrics: Registry;
  readonly logger: Logger;
}

/** How to come by the API server; undefined when the configuration wants none. */
export function apiCredentials(api: ApiSetting, tree: HostTree): ApiCredentials | undefined {
  if (api === 'off') return undefined;
  if (api !== 'kubelet') return new ApiCredentials(async () => api.kubeconfig);
  let last: string | undefined;
  return new ApiCredentials(async (signal) => {
    // The kubelet may start after the agent, or again with another file; while it is away, its file still serves.
    last = (await findKubeletKubeconfig(tree, signal)) ?? last;
    if (last !== undefined) return last;
    throw new HoldfastError('PRECONDITION', 'no kubelet with --kubeconfig runs here whose credentials could be used');
  });
}

/** Resolves when every source was read once, whether well or not. */
export async function openPodSource(options: PodSourceOptions): Promise<PodSource> {
  const { file, staticManifests, nodeName, tree, metrics, logger } = options;
  const onError = (error: unknown): void => logger.warn({ error: describeError(error) }, 'pod source');
  const sources: PodSource[] = [];
  const credentials = apiCredentials(options.api, tree);
  if (credentials !== undefined) {
    const observe = createApiMetrics.bind(undefined, metrics);
    sources.push(await startApiPodSource({ credentials, nodeName, onError, observe }));
  }
  if (file !== undefined) sources.push(await startFilePodSource({ file, onError }));
  if (staticManifests !== undefined) {
    sources.push(await startStaticManifestPodSource({ folder: staticManifests, nodeName, onError }));
  }
  return combinePodSources(sources);
}
