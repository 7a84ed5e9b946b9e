// The certificates for etcd: read before the first call, and again now and then while etcd is used, so that what a
// certificate manager renews is taken without a restart. Reading never holds up a call once there are some.
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import type { ClientTls } from '../../../lib/grpc-client.ts';
import { unlessAborted } from '../../../lib/keyed-mutex.ts';

export interface TlsFilesOptions {
  readonly read: () => Promise<ClientTls>;
  /** Milliseconds between two looks at the files. */
  readonly intervalMs: number;
  /** Told of the first ones and of every change. */
  readonly onChanged: (tls: ClientTls) => void;
  /** Told once of each problem with files while the former ones are in force. */
  readonly onProblem: (error: HoldfastError) => void;
}

function isSame(one: ClientTls, other: ClientTls): boolean {
  return (
    one.ca.equals(other.ca) &&
    one.cert.equals(other.cert) &&
    one.key.equals(other.key) &&
    one.serverName === other.serverName
  );
}

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  #used: ClientTls | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #problem: string | undefined;

  constructor(options: TlsFilesOptions) {
    this.#options = options;
  }

  /**
   * Looks at the files when that was some time ago.
   * @param timeoutMs - milliseconds to wait for the first certificates; files on a mount may hang
   * @throws HoldfastError UNAVAILABLE when there are no certificates yet, with the reason; the signal's reason
   */
  async refresh(timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (this.#reading === undefined && performance.now() - this.#readAt >= this.#options.intervalMs) {
      this.#reading = this.#read().finally(() => {
        this.#reading = undefined;
      });
    }
    if (this.#used !== undefined) return;
    await unlessAborted(atMost(timeoutMs, this.#reading), signal);
    if (this.#used === undefined) {
      const why = this.#problem ?? `they were not read within ${timeoutMs} ms: does their file system answer?`;
      throw new HoldfastError('UNAVAILABLE', `there are no certificates for etcd: ${why}`);
    }
  }

  /** Never throws. */
  async #read(): Promise<void> {
    try {
      const next = await this.#options.read();
      this.#readAt = performance.now();
      this.#problem = undefined;
      if (this.#used !== undefined && isSame(this.#used, next)) return;
      this.#used = next;
      this.#options.onChanged(next);
    } catch (cause) {
      // Files are replaced one after the other: what does not fit now may in a moment.
      if (this.#used !== undefined) this.#readAt = performance.now();
      const problem = describeError(cause);
      if (problem === this.#problem) return;
      this.#problem = problem;
      this.#options.onProblem(new HoldfastError('PRECONDITION', `the certificates for etcd: ${problem}`, { cause }));
    }
  }
}

/** Resolves with the work, or after that many milliseconds; the work goes on. */
async function atMost(ms: number, work: Promise<void> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([late, work]);
  } finally {
    clearTimeout(timer);
  }
}
