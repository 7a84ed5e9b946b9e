// Pods from a file: for the quickstart, for tests, and for hosts whose pods something else writes down.
import path from 'node:path';
import { describeError } from '../../lib/errors.ts';
import { FilePodView, type PodMatch, type ReadPods } from './file-pod-view.ts';
import { readManifestFile } from './file-read.ts';
import { startWatchedSource } from './file-source-base.ts';
import { parsePodManifests } from './pod-manifest.ts';
import type { PodSource } from './pod-source.ts';
import { UidsByName, withAmbiguity } from './uids-by-name.ts';

/** A pod that left the file counts as deleted after this time (milliseconds). */
const SETTLE_MS = 2000;

/** By UID; a pod that the file gives none is known by namespace and name. */
const BY_UID_OR_NAME: PodMatch = {
  keyOf: ({ uid, namespace, name }) => (uid === '' ? `name ${namespace}/${name}` : `uid ${uid}`),
  keysFor: ({ uid, namespace, name }) => [`uid ${uid}`, `name ${namespace}/${name}`],
};

export interface FilePodSourceOptions {
  /** May be absent; it is read when it comes. */
  readonly file: string;
  readonly onError: (error: unknown) => void;
  /** See {@link SETTLE_MS}; tests wait less. */
  readonly settleMs?: number;
}

/** Resolves when the file was read once, whether well or not. */
export async function startFilePodSource(options: FilePodSourceOptions): Promise<PodSource> {
  const { file, onError, settleMs = SETTLE_MS } = options;
  const uids = new UidsByName();
  let last: { readonly text: string; readonly pods: ReadPods } | undefined;
  const read = async (): Promise<ReadPods> => {
    try {
      const text = await readManifestFile(file);
      if (last?.text !== text) {
        last = { text, pods: parsePodManifests(text) };
        uids.nameOnly(last.pods.pods.filter(({ uid }) => uid === ''));
      }
      return last.pods;
    } catch (error) {
      return { pods: [], complete: false, problem: `${file}: ${describeError(error)}` };
    }
  };
  const source = await startWatchedSource({
    name: `file ${file}`,
    view: new FilePodView(BY_UID_OR_NAME, settleMs),
    folder: path.dirname(file),
    concerns: (name) => name === path.basename(file),
    read,
    onError,
  });
  return withAmbiguity(source, uids);
}
