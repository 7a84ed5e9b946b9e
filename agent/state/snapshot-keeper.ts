// Writes the snapshot some time after changes: many changes cost one write, and none waits for long.
import { HoldfastError } from '../../lib/errors.ts';
import { writeSnapshot } from './snapshot.ts';

const DELAY_MS = 1000;
const RETRY_MS = 30_000;

export interface SnapshotKeeperOptions {
  readonly directory: string;
  /** The text to write, of the present state. */
  readonly format: () => string;
  readonly onProblem: (error: HoldfastError) => void;
}

export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<boolean> | undefined;

  constructor(options: SnapshotKeeperOptions) {
    this.#options = options;
  }

  /** Something is new: a write follows within about a second (30 s after a failed one). */
  changed(delayMs = DELAY_MS): void {
    this.#timer ??= setTimeout(() => void this.#write(), delayMs);
  }

  async #write(): Promise<boolean> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const before = this.#writing;
    this.#writing = (async () => {
      await before;
      try {
        await writeSnapshot(this.#options.directory, this.#options.format());
        return true;
      } catch (cause) {
        const message = `the snapshot of the state in ${this.#options.directory} could not be written`;
        this.#options.onProblem(new HoldfastError('HOST_FAILURE', message, { cause }));
        return false;
      }
    })();
    const done = await this.#writing;
    if (!done) this.changed(RETRY_MS);
    return done;
  }

  /** Writes now and ends; problems are reported, not thrown. */
  async close(): Promise<void> {
    await this.#write();
    clearTimeout(this.#timer);
  }
}
