// Whether this host may speak for the addresses that others may take over: as long as its lease holds. What the feature
// needs to know of it, wherever the lease is.

/**
 * `held`: from now on, under a new or the former {@link HostSession.identity}. `lost`: take the movable addresses down.
 */
export type SessionState = 'held' | 'lost';

/**
 * The time bounds, with TTL the lease's length (default 30 s) and every time on the clock of who is named.
 *
 * - This host renews every TTL / 6, and after a failure every second: a member of etcd that is lost costs nothing, an
 *   etcd that is away for less than about 4/5 of the TTL neither.
 * - The lease holds, for this host, until the moment of *sending* the last renewal that was confirmed, plus TTL, less
 *   2 % and 100 ms. The clock is CLOCK_BOOTTIME, which counts while the process is stopped or the host is suspended: whoever
 *   comes back late finds that the time is over before anything else. Then `lost` is told, and nothing can be committed.
 * - etcd ends the lease no earlier than TTL after the moment at which its leader *received* the renewal, which is later
 *   than its sending; a change of the leader only makes it longer. A renewal counts only when a linearizable read after it was
 *   answered in the same term, so that no leader that had been replaced can have answered it.
 * - Others take over no earlier than when they see the host's key gone, and then a fencing delay (default 10 s) later on
 *   their own clocks.
 *
 * So this host has stopped counting on the lease before it can end, as long as two clocks differ by less than 2 % (NTP may
 * slew a clock by 0.05 %), and has the fencing delay for taking addresses off the interfaces: the two cannot overlap while
 * that takes less than the delay. What this cannot bound: an agent that is stopped or killed cannot take anything down, the
 * kernel goes on answering for the addresses; and no clock inside a virtual machine counts while its hypervisor has paused
 * it. Such a host can change nothing in the store, but its neighbours may hear two hosts until it goes on.
 */
export interface HostSession {
  /** Of the present session: random, another one for each start and after each loss of the lease. undefined before the first. */
  readonly identity: string | undefined;

  /** Whether the lease holds at this moment, by this host's own clock. Cheap: ask right before each act that depends on it. */
  isValid(): boolean;

  /** Milliseconds for which the lease holds without another renewal; 0 when it does not, Infinity when nobody else could. */
  validForMs(): number;

  /**
   * Tells of changes, never twice the same in a row, at once when the loss is known and else when the time is over. After
   * `held`, what this host holds must be read again before its addresses go up.
   * @returns ends the telling
   */
  onChange(listener: (state: SessionState) => void): () => void;

  /**
   * This host has given up all that could be taken over: others need not wait for the end of the lease. To be called when
   * movable addresses are down, as on uninstalling; not at the end of the agent, whose pods go on.
   * @throws HoldfastError UNAVAILABLE when etcd cannot be asked; the lease then ends by itself
   */
  release(signal: AbortSignal): Promise<void>;

  /** Renews no more. The lease is left to end by itself, so that an agent that is started again goes on in time. */
  close(): Promise<void>;
}

/** The session of a host that shares its addresses with no other. */
export function standingSession(identity: string): HostSession {
  return {
    identity,
    isValid: () => true,
    validForMs: () => Number.POSITIVE_INFINITY,
    onChange: () => () => {},
    release: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
