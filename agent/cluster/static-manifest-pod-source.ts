// Static pods: the manifests in the kubelet's staticPodPath.
import fs from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../../lib/errors.ts';
import type { PodFacts } from '../model/pod.ts';
import { FilePodView, type PodMatch, type ReadPods } from './file-pod-view.ts';
import { readManifestFile } from './file-read.ts';
import { startWatchedSource } from './file-source-base.ts';
import { parsePodManifests } from './pod-manifest.ts';
import type { PodName, PodPhase, PodSource } from './pod-source.ts';

/** Longer than the kubelet takes to notice (fileCheckFrequency, 20 s), and than any editor to replace a file. */
const SETTLE_MS = 30_000;

const MAX_FILES = 1000;

/** UIDs remembered per manifest. */
const MAX_UIDS = 16;

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
        pods.push(...parsePodManifests(await readManifestFile(file)).pods);
      } catch (error) {
        problems.push(`${file}: ${describeError(error)}`);
      }
    }
  } catch (error) {
    problems.push(`${folder}: ${describeError(error)}`);
  }
  // Manifests never name every pod of the host: those of the API server are not among them.
  const read: ReadPods = { pods, complete: false };
  return problems.length === 0 ? read : { ...read, problem: problems.join('; ').slice(0, 1000) };
}

/** The kubelet makes up the UID (a hash of manifest and node name) unless the manifest has one. */
function byStaticName(nodeName: string): PodMatch {
  const suffix = `-${nodeName.toLowerCase()}`;
  return {
    keyOf: ({ namespace, name }) => `${namespace}/${name}${suffix}`,
    keysFor: ({ namespace, name }) => [`${namespace}/${name}`],
  };
}

/**
 * An edited manifest is another pod of the same name: the UID changes with the text. While more than one UID has been
 * asked for under a name, none of them is said to be present: the older would hold its resources for ever.
 */
class UidsByName {
  readonly #uids = new Map<string, Set<string>>();

  isAmbiguous({ uid, namespace, name }: PodName): boolean {
    const key = `${namespace}/${name}`;
    const uids = this.#uids.get(key) ?? new Set();
    this.#uids.set(key, uids);
    if (uids.size < MAX_UIDS) uids.add(uid);
    return uids.size > 1;
  }

  forgetAllBut(isKnown: (key: string) => boolean): void {
    for (const key of this.#uids.keys()) if (!isKnown(key)) this.#uids.delete(key);
  }
}

/** Resolves when the folder was read once, whether well or not. */
export async function startStaticManifestPodSource(options: StaticManifestPodSourceOptions): Promise<PodSource> {
  const { folder, nodeName, onError, settleMs = SETTLE_MS } = options;
  const match = byStaticName(nodeName);
  const view = new FilePodView(match, settleMs);
  const uids = new UidsByName();
  const read = async (): Promise<ReadPods> => {
    const found = await readManifests(folder);
    const keys = new Set(found.pods.map((facts) => match.keyOf(facts)));
    if (found.problem === undefined) uids.forgetAllBut((key) => keys.has(key));
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
  return {
    ...source,
    find: (pod) => {
      const facts = source.find(pod);
      if (facts !== undefined) uids.isAmbiguous(pod);
      return facts;
    },
    phaseOf: (pod): PodPhase => {
      const phase = source.phaseOf(pod);
      return phase === 'present' && uids.isAmbiguous(pod) ? 'unknown' : phase;
    },
  };
}
