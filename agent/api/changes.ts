// A version that grows with every change of what the topology service shows, and a way to wait for the next one.
import { once } from 'node:events';

export class Changes {
  readonly #target = new EventTarget();
  #version = 1n;

  get version(): bigint {
    return this.#version;
  }

  /** Something that callers can see has changed. */
  announce(): void {
    this.#version += 1n;
    this.#target.dispatchEvent(new Event('change'));
  }

  /** Resolves when the version is another than `seen`; a slow reader skips versions and never queues them. */
  async after(seen: bigint, signal: AbortSignal): Promise<void> {
    if (this.#version !== seen) return;
    await once(this.#target, 'change', { signal });
  }
}
