// Static pods: the manifests in the kubelet's staticPodPath.
import fs from 'node:fs/promises';
import path from 'node:path';
import { describeError, isErrno } from '../../lib/errors.ts';
import type { PodFacts } from '../model/pod.ts';
import { FilePodView, type PodMatch, type ReadPods } from './file-pod-view.ts';
import { readManifestFile } from './file-read.ts';
import { startWatchedSource } from './file-source-base.ts';
import { parsePodManifests } from './pod-manifest.ts';
import type { PodSource } from './pod-source.ts';
import { UidsByName, withAmbiguity } from './uids-by-name.ts';

/** Longer than the kubelet takes to notice (fileCheckFrequency, 20 s), and than any editor to replace a file. */
const SETTLE_MS = 30_000;

const MAX_FILES = 1000;

export interface StaticManifestPodSourceOptions {
  /** The kubelet's staticPodPath. */
  readonly folder: string;
  /** The kubelet appends it to the names of static pods. */
  readonly nodeName: string;
  readonly onError: (error: unknown) => void;
  /** See {@link SETTLE_MS}; tests wait less. */
  readonly settleMs?: number;
}

async function readManifests(folder: string): Promise<ReadPods> {
  const pods: PodFacts[] = [];
  const problems: string[] = [];
  try {
    // The kubelet passes over names that begin with a dot, too.
    const names = (await fs.readdir(folder)).filter((name) => !name.startsWith('.')).sort();
    if (names.length > MAX_FILES) problems.push(`${folder} has over ${MAX_FILES} files`);
    for (const name of names.slice(0, MAX_FILES)) {
      const file = path.join(folder, name);
      try {
        if ((await fs.stat(file)).isDirectory()) continue;
        const manifests = parsePodManifests(await readManifestFile(file));
        pods.push(...manifests.pods.map((facts) => ({ ...facts, isStatic: true })));
      } catch (error) {
        problems.push(`${file}: ${describeError(error)}`);
      }
    }
  } catch (error) {
    // To the kubelet, too, a folder that does not exist is one without manifests (pkg/kubelet/config/file.go).
    if (!isErrno(error, 'ENOENT')) problems.push(`${folder}: ${describeError(error)}`);
  }
  // Manifests never name every pod of the host: those of the API server are not among them.
  const read: ReadPods = { pods, complete: false };
  return problems.length === 0 ? read : { ...read, problem: problems.join('; ').slice(0, 1000) };
}

const staticName = (name: string, nodeName: string): string => `${name}-${nodeName.toLowerCase()}`;

/** The kubelet makes up the UID (a hash of manifest and node name) unless the manifest has one. */
function byStaticName(nodeName: string): PodMatch {
  return {
    keyOf: ({ namespace, name }) => `${namespace}/${staticName(name, nodeName)}`,
    keysFor: ({ namespace, name }) => [`${namespace}/${name}`],
  };
}

/** Resolves when the folder was read once, whether well or not. */
export async function startStaticManifestPodSource(options: StaticManifestPodSourceOptions): Promise<PodSource> {
  const { folder, nodeName, onError, settleMs = SETTLE_MS } = options;
  const match = byStaticName(nodeName);
  const view = new FilePodView(match, settleMs);
  // An edited manifest is another pod of the same name: the UID changes with the text.
  const uids = new UidsByName();
  const read = async (): Promise<ReadPods> => {
    const found = await readManifests(folder);
    if (found.problem === undefined) {
      uids.nameOnly(found.pods.map(({ namespace, name }) => ({ namespace, name: staticName(name, nodeName) })));
    }
    return found;
  };
  const source = await startWatchedSource({
    name: `static manifests ${folder}`,
    view,
    folder,
    concerns: (name) => !name.startsWith('.'),
    read,
    onError,
  });
  return withAmbiguity(source, uids);
}
