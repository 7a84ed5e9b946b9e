// A version that grows with every change of what is shown, and a way to wait for the next one.

export interface ChangesOptions {
  /** The version before the first change. */
  readonly first: bigint;
  /** Told of every version that is taken. */
  readonly onVersion: (version: bigint) => void;
}

export class Changes {
  readonly #waiting = new Set<() => void>();
  readonly #onVersion: (version: bigint) => void;
  #version: bigint;

  constructor({ first = 1n, onVersion = () => {} }: Partial<ChangesOptions> = {}) {
    this.#version = first;
    this.#onVersion = onVersion;
  }

  get version(): bigint {
    return this.#version;
  }

  /**
   * Something that callers can see has changed. To be called before anything else can run after the change, so that no
   * version ever stands for two states.
   */
  announce(): void {
    this.#version += 1n;
    this.#onVersion(this.#version);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * Resolves when the version is another than `seen`; a slow reader skips versions and never queues them.
   * @throws the signal's reason
   */
  async after(seen: bigint, signal: AbortSignal): Promise<void> {
    if (this.#version !== seen) return;
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        this.#waiting.delete(wake);
        reject(signal.reason);
      };
      const wake = (): void => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.add(wake);
    });
  }
}
