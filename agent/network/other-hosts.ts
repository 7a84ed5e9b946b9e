// Which other hosts have lost their leases, as this host has seen it: what they held may be taken over a fencing delay later.

export interface OtherHostsOptions {
  /** Milliseconds from seeing that a lease is over until its host surely has taken its addresses down. */
  readonly fencingDelay: number;
  /**
   * Milliseconds that any lease lives at least. Between two looks that are closer together a host cannot have had a lease
   * and lost it again.
   */
  readonly leaseTtl: number;
  /** Milliseconds; must count while the process is stopped and the host is suspended. */
  readonly clock: () => number;
}

interface Gone {
  readonly since: number;
  /** The last look. */
  readonly seen: number;
}

/** Those whose look is too long ago are forgotten before there are more. */
const MOST_HOSTS = 1024;

export class OtherHosts {
  readonly #options: OtherHostsOptions;
  readonly #gone = new Map<string, Gone>();

  constructor(options: OtherHostsOptions) {
    this.#options = options;
  }

  /**
   * To be told of each look at a host's lease.
   * @returns milliseconds until what it held may be taken over, 0: now; undefined while it has a lease
   */
  waitFor(host: string, hasLease: boolean): number | undefined {
    if (hasLease) {
      this.#gone.delete(host);
      return undefined;
    }
    const { fencingDelay, leaseTtl, clock } = this.#options;
    const now = clock();
    const before = this.#gone.get(host);
    const since = before === undefined || now - before.seen >= leaseTtl ? now : before.since;
    if (before === undefined && this.#gone.size >= MOST_HOSTS) this.#forget(now - leaseTtl);
    this.#gone.set(host, { since, seen: now });
    return Math.max(0, since + fencingDelay - now);
  }

  #forget(before: number): void {
    for (const [host, { seen }] of this.#gone) if (seen <= before) this.#gone.delete(host);
  }
}
