// Wakes answers that wait for something to change on some nodes, and on no others.

interface Waiting {
  readonly nodes: ReadonlySet<string>;
  readonly wake: () => void;
}

export class NodeNews {
  readonly #waiting = new Set<Waiting>();

  /** Something has changed there that can change an answer. */
  tell(nodes: Iterable<string>): void {
    if (this.#waiting.size === 0) return;
    const told = [...nodes];
    for (const waiting of this.#waiting) if (told.some((node) => waiting.nodes.has(node))) waiting.wake();
  }

  /**
   * Resolves with the next news of one of the nodes, or after the time. It listens from the moment of the call.
   * @throws the signal's reason
   */
  async of(nodes: ReadonlySet<string>, milliseconds: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => (): void => {
        this.#waiting.delete(waiting);
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        settle();
      };
      const giveUp = end(() => reject(signal.reason));
      const wake = end(resolve);
      const waiting: Waiting = { nodes, wake };
      const timer = setTimeout(wake, Math.max(1, milliseconds));
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(waiting);
    });
  }
}
