// Serialises work on one subject (a pod, a container) while different subjects go on side by side.

/** A set of locks by name; a name costs nothing while nobody holds or waits for it. */
export class KeyedMutex {
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * Runs `work` after all earlier work under the same key has ended, whether it succeeded or failed.
   * @param signal - gives up waiting (never interrupts work that has begun); rejects with its reason
   */
  async run<Result>(key: string, work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    let release = (): void => {};
    const own = new Promise<void>((resolve) => {
      release = resolve;
    });
    const tail = before.then(() => own);
    this.#tails.set(key, tail);
    try {
      await (signal === undefined ? before : unlessAborted(before, signal));
      return await work();
    } finally {
      release();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

/** Settles with the promise, or rejects with the signal's reason if that comes first. */
export async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let giveUp = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    giveUp = () => reject(signal.reason);
  });
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}
