// The times of this host's lease, and what an answer to a renewal means. Pure.

export interface LeaseTimes {
  /** Milliseconds that the lease lives without being renewed; whole seconds. */
  readonly ttlMs: number;
  /** Milliseconds from one renewal to the next. */
  readonly renewMs: number;
  /** Milliseconds until the next attempt after one that failed. */
  readonly retryMs: number;
}

/** etcd makes shorter ones longer (one and a half election timeouts, 2 s as installed). */
export const SHORTEST_TTL_MS = 5000;

export function leaseTimes(ttlMs: number): LeaseTimes {
  return { ttlMs, renewMs: ttlMs / 6, retryMs: Math.min(1000, ttlMs / 12) };
}

/** Of the length of a lease: what two clocks may differ by. The kernel lets NTP slew a clock by 0.05 %. */
const CLOCK_TOLERANCE = 0.02;
const TIMER_TOLERANCE_MS = 100;

/**
 * Until when the lease surely holds, on the clock that `sentAt` was read from.
 * @param sentAt - before the request that was confirmed was sent
 */
export function heldUntil(sentAt: number, ttlMs: number): number {
  return sentAt + ttlMs * (1 - CLOCK_TOLERANCE) - TIMER_TOLERANCE_MS;
}

export interface RenewalAnswer {
  /** Of the lease as etcd says; 0 when there is none. */
  readonly ttlMs: number;
  /** Of etcd when the renewal began. */
  readonly term: bigint;
}

/** What a linearizable read after the renewal found. */
export interface Confirmation {
  /** Of the host's key. */
  readonly value: string | undefined;
  readonly term: bigint;
}

/**
 * `renewed`; `gone`: the lease has ended, or the key is somebody else's or nobody's; `unclear`: etcd has changed its leader
 * meanwhile, and the one before it may have answered without being one any more: nothing is known.
 */
export function judgeRenewal(
  own: string,
  renewal: RenewalAnswer,
  confirmation: Confirmation,
): 'renewed' | 'gone' | 'unclear' {
  if (renewal.ttlMs <= 0 || confirmation.value !== own) return 'gone';
  return renewal.term === confirmation.term ? 'renewed' : 'unclear';
}

/** What is in a host's key. */
export interface HostRecord {
  /** Of one session. */
  readonly identity: string;
  /** Of the machine, such as /etc/machine-id: tells two hosts of one name from one that was started again. */
  readonly machine: string;
}

export function formatHostRecord({ identity, machine }: HostRecord): string {
  return JSON.stringify({ identity, machine });
}

/** Whose key it is; undefined when it cannot be told. */
export function machineOf(value: string): string | undefined {
  try {
    const record: unknown = JSON.parse(value);
    const isRecord = typeof record === 'object' && record !== null && 'machine' in record;
    return isRecord && typeof record.machine === 'string' ? record.machine : undefined;
  } catch {
    return undefined;
  }
}
