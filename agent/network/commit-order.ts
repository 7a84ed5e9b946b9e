// Lets changes go on side by side unless one writes what the other reads or writes: those follow each other in the order
// in which they came.
import { unlessAborted } from '../../lib/keyed-mutex.ts';

export interface Touched {
  /** Only looked at. */
  readonly reads: Iterable<string>;
  readonly writes: Iterable<string>;
}

interface Users {
  /** The last one that writes the key. */
  writer: Promise<unknown> | undefined;
  /** Those that look at it after that. */
  readonly readers: Set<Promise<unknown>>;
}

/** A key costs nothing while nobody uses it. Each waits for earlier ones alone, so that no two wait for each other. */
export class CommitOrder {
  readonly #users = new Map<string, Users>();

  /**
   * Runs `work` after all earlier work in its way has ended, whether it succeeded or failed.
   * @param signal - gives up waiting (never interrupts work that has begun); rejects with its reason
   */
  async run<Result>({ reads, writes }: Touched, work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    const written = new Set(writes);
    const read = [...reads].filter((key) => !written.has(key));
    const before = [
      ...read.flatMap((key) => this.#users.get(key)?.writer ?? []),
      ...[...written].flatMap((key) => this.#all(key)),
    ];
    let finish = (): void => {};
    const own = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const earlier = Promise.all(before);
    // Whoever gives up waiting is still in its place: those behind it wait for those before it.
    const ended = Promise.all([earlier, own]);
    for (const key of read) this.#of(key).readers.add(ended);
    for (const key of written) this.#users.set(key, { writer: ended, readers: new Set() });
    void ended.then(() => this.#forget([...read, ...written], ended));
    try {
      await unlessAborted(
        earlier.then(() => {}),
        signal,
      );
      return await work();
    } finally {
      finish();
    }
  }

  #of(key: string): Users {
    const users = this.#users.get(key) ?? { writer: undefined, readers: new Set() };
    this.#users.set(key, users);
    return users;
  }

  #all(key: string): readonly Promise<unknown>[] {
    const users = this.#users.get(key);
    if (users === undefined) return [];
    return users.writer === undefined ? [...users.readers] : [users.writer, ...users.readers];
  }

  #forget(keys: readonly string[], ended: Promise<unknown>): void {
    for (const key of keys) {
      const users = this.#users.get(key);
      if (users === undefined) continue;
      if (users.writer === ended) users.writer = undefined;
      users.readers.delete(ended);
      if (users.writer === undefined && users.readers.size === 0) this.#users.delete(key);
    }
  }
}
