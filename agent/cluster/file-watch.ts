// Says when something in a folder may have changed: inotify where it works, and a look every few seconds in any case
// (network file systems, exhausted watches, folders that were replaced).
import { type FSWatcher, watch } from 'node:fs';

const DEBOUNCE_MS = 100;
const POLL_MS = 5000;

/**
 * Calls `look` soon after changes in the folder and at least every five seconds; never twice at a time.
 * @param concerns - whether a change of the entry with this name matters
 * @returns the function that ends it
 */
export function watchFolder(
  folder: string,
  concerns: (name: string) => boolean,
  look: () => Promise<void>,
): () => void {
  let watcher: FSWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let state: 'idle' | 'soon' | 'looking' | 'looking-again' = 'idle';

  const schedule = (delayMs: number): void => {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(() => void run(), delayMs).unref();
  };
  const run = async (): Promise<void> => {
    state = 'looking';
    await look();
    if (watcher === undefined) startWatching();
    const again = (state as string) === 'looking-again';
    state = again ? 'soon' : 'idle';
    schedule(again ? DEBOUNCE_MS : POLL_MS);
  };
  const changed = (_event: string, name: string | null): void => {
    if (name !== null && !concerns(name)) return;
    if (state === 'looking') state = 'looking-again';
    // A look that is due soon is not put off: changes that never pause must not keep it from happening.
    if (state !== 'idle') return;
    state = 'soon';
    schedule(DEBOUNCE_MS);
  };
  const startWatching = (): void => {
    if (closed) return;
    try {
      // Unreferenced: watching must not keep a process alive that has nothing else to do.
      watcher = watch(folder, { persistent: false }, changed);
      watcher.on('error', stopWatching);
    } catch {
      // Absent folder or no watches left: the next look tries again, and looking is what counts.
      watcher = undefined;
    }
  };
  const stopWatching = (): void => {
    watcher?.close();
    watcher = undefined;
  };

  startWatching();
  schedule(POLL_MS);
  return () => {
    closed = true;
    clearTimeout(timer);
    stopWatching();
  };
}
