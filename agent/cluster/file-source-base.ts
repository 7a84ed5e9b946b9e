// What the sources over files have in common: read, watch, tell listeners.
import type { PodFacts } from '../model/pod.ts';
import type { FilePodView, ReadPods } from './file-pod-view.ts';
import { watchFolder } from './file-watch.ts';
import type { PodName, PodPhase, PodSource } from './pod-source.ts';

export interface WatchedSource {
  /** For logs and `holdfast status`. */
  readonly name: string;
  readonly view: FilePodView;
  /** What is watched. */
  readonly folder: string;
  /** Whether a change of the entry with this name matters. */
  readonly concerns: (name: string) => boolean;
  /** Reads everything; never throws: what cannot be read is the `problem`. */
  readonly read: () => Promise<ReadPods>;
  /** Told of listeners that throw. */
  readonly onError: (error: unknown) => void;
}

/** Reads once, then follows the folder. */
export async function startWatchedSource(source: WatchedSource): Promise<PodSource> {
  const { name, view, onError } = source;
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) {
      try {
        listener();
      } catch (error) {
        onError(error);
      }
    }
  };
  let settling: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    const changed = view.update(await source.read());
    const settlesIn = view.settlesIn();
    clearTimeout(settling);
    // Becoming deleted is a change, too, though no file changes then.
    if (settlesIn !== undefined) settling = setTimeout(tell, settlesIn + 1).unref();
    if (changed) tell();
  };
  await look();
  const stopWatching = watchFolder(source.folder, source.concerns, look);
  return {
    status: () => ({ name, ...view.status() }),
    find: (pod: PodName): PodFacts | undefined => view.find(pod),
    phaseOf: (pod: PodName): PodPhase => view.phaseOf(pod),
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => {
      stopWatching();
      clearTimeout(settling);
      listeners.clear();
    },
  };
}
