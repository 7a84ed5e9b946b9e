// The pod source that the configuration asks for: a file, the static-pod manifests, both, or none.
import type { Logger } from 'pino';
import { describeError } from '../../lib/errors.ts';
import { combinePodSources } from './combined-pod-source.ts';
import { startFilePodSource } from './file-pod-source.ts';
import type { PodSource } from './pod-source.ts';
import { startStaticManifestPodSource } from './static-manifest-pod-source.ts';

export interface PodSourceOptions {
  /** Absent: no file. */
  readonly file?: string | undefined;
  /** Folder of the static-pod manifests; absent: none. */
  readonly staticManifests?: string | undefined;
  readonly nodeName: string;
  readonly logger: Logger;
}

/** Resolves when every source was read once, whether well or not. */
export async function openPodSource({ file, staticManifests, nodeName, logger }: PodSourceOptions): Promise<PodSource> {
  const onError = (error: unknown): void => logger.warn({ error: describeError(error) }, 'pod source');
  const sources: PodSource[] = [];
  if (file !== undefined) sources.push(await startFilePodSource({ file, onError }));
  if (staticManifests !== undefined) {
    sources.push(await startStaticManifestPodSource({ folder: staticManifests, nodeName, onError }));
  }
  return combinePodSources(sources);
}
