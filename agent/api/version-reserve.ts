// Versions that never go back: not when the agent is started again, not when its store is lost or an older one is put
// back. A clock alone could be set back and a store alone can be lost, so the first version is above what both say.
import { z } from 'zod';
import { put, type Store, type Table } from '../state/store.ts';

/** No version above this one has been used; a decimal number below 10^18. */
const RESERVED: Table<string> = { name: 'topology-version', schema: z.string().regex(/^\d{1,18}$/) };
const KEY = 'reserved';

/** Versions that are reserved at a time: the disk is asked once for so many changes, and not for each. */
const BLOCK = 1_000_000n;
/** What must be left of a block when the next one is reserved. */
const LOW = BLOCK / 2n;
/** Changes between attempts when the disk refuses. */
const RETRY_AFTER = BLOCK / 10n;

export interface VersionReserveOptions {
  readonly store: Store;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The disk refused: until it takes a reservation, only the clock keeps versions from going back. */
  readonly onProblem: (error: unknown) => void;
}

export class VersionReserve {
  /** Above every version that was used before, as far as store and clock know. */
  readonly first: bigint;
  readonly #options: VersionReserveOptions;
  #reserveAt: bigint;
  #reserving: Promise<void> = Promise.resolve();

  /** Reads what the last agent left; reserves nothing yet. */
  constructor(options: VersionReserveOptions) {
    const reserved = BigInt(options.store.entries(RESERVED).get(KEY) ?? 0);
    // In microseconds no agent makes changes faster than its clock goes.
    const clock = BigInt(Math.max(0, Math.trunc(options.now()))) * 1000n;
    this.#options = options;
    this.first = (reserved > clock ? reserved : clock) + 1n;
    this.#reserveAt = this.first;
  }

  /** To be told of every version before anybody else. Returns at once; the disk is written in the background. */
  use(version: bigint): void {
    if (version < this.#reserveAt) return;
    this.#reserveAt = version + RETRY_AFTER;
    this.#reserving = this.#reserve(version + BLOCK);
  }

  /** Resolves when nothing is on its way to the disk. */
  async settled(): Promise<void> {
    await this.#reserving;
  }

  async #reserve(ceiling: bigint): Promise<void> {
    try {
      await this.#options.store.commit([put(RESERVED, KEY, String(ceiling))]);
      this.#reserveAt = ceiling - LOW;
    } catch (error) {
      this.#options.onProblem(error);
    }
  }
}
