// This host's lease in etcd: a key that lives as long as the host renews it. Kept alive here; what the host may do only
// while it has the lease asks here, and is fenced in etcd by the key's value.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '../../../lib/errors.ts';
import type { LeaseApi } from './lease-api.ts';
import {
  type Confirmation,
  formatHostRecord,
  heldUntil,
  judgeRenewal,
  type LeaseTimes,
  leaseTimes,
  machineOf,
  type RenewalAnswer,
  SHORTEST_TTL_MS,
} from './plan-lease.ts';

export interface HostLeaseOptions {
  readonly api: LeaseApi;
  /** The host's key, without the prefix: `hosts/<node name>`. */
  readonly key: string;
  /** Of this machine and of no other; a host of the same name on another machine is refused while its lease lives. */
  readonly machine: string;
  /** Milliseconds, whole seconds, at least 5000. */
  readonly ttlMs: number;
  /** Milliseconds; must count while the process is stopped and the host is suspended (agent/host/boot-clock.ts). */
  readonly clock: () => number;
  /** Told once of each reason why the lease is not renewed. */
  readonly onProblem: (error: unknown) => void;
}

interface Claim {
  readonly lease: bigint;
  readonly identity: string;
  /** What the host's key must have. */
  readonly value: string;
  /** On the clock. */
  readonly until: number;
}

/** Must not throw. */
type Listener = (state: 'held' | 'lost') => void;

function whyGone(key: string, { ttlMs }: RenewalAnswer, { value }: Confirmation): string {
  if (ttlMs <= 0) return `the lease of ${key} had ended in etcd when it was to be renewed`;
  if (value === undefined) return `${key} was removed from etcd while this host had its lease`;
  return `${key} was taken by another agent: ${value}`;
}

/** As agent/network/host-session.ts has it, and the fence of its commits. */
export class HostLease {
  readonly #options: HostLeaseOptions;
  readonly #times: LeaseTimes;
  readonly #listeners = new Set<Listener>();
  readonly #ending = new AbortController();
  #claim: Claim | undefined;
  #told: 'held' | 'lost' = 'lost';
  #expiry: NodeJS.Timeout | undefined;
  /** Ends the pause before the next attempt. */
  #wake: () => void = () => {};
  #problem: string | undefined;
  #running: Promise<void> | undefined;

  /** @throws HoldfastError INVALID_CONFIG for a TTL that etcd would not keep */
  constructor(options: HostLeaseOptions) {
    if (options.ttlMs < SHORTEST_TTL_MS || options.ttlMs % 1000 !== 0) {
      throw new HoldfastError('INVALID_CONFIG', 'the lease of a host must have whole seconds, 5 at least');
    }
    this.#options = options;
    this.#times = leaseTimes(options.ttlMs);
  }

  /** Begins to ask for the lease, and goes on until {@link close}. Whether there is one is told to listeners. */
  start(): void {
    this.#running ??= this.#run();
  }

  get identity(): string | undefined {
    return this.#claim?.identity;
  }

  isValid(): boolean {
    return this.validForMs() > 0;
  }

  validForMs(): number {
    return this.#claim === undefined ? 0 : Math.max(0, this.#claim.until - this.#options.clock());
  }

  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * What must be in etcd for a change of this host to be made.
   * @throws HoldfastError UNAVAILABLE while the lease does not hold
   */
  proof(): { readonly key: string; readonly value: string } {
    const claim = this.#claim;
    if (claim !== undefined && this.isValid()) return { key: this.#options.key, value: claim.value };
    const why = this.#problem === undefined ? '' : `: ${this.#problem}`;
    throw new HoldfastError('UNAVAILABLE', `this host has no lease in etcd, and changes nothing without it${why}`);
  }

  /** etcd says that the proof does not hold: somebody else has the key, or nobody. */
  refuted({ value }: { readonly value: string }): void {
    if (this.#claim?.value !== value) return;
    this.#drop();
    this.#wake();
  }

  async release(signal: AbortSignal): Promise<void> {
    const claim = this.#claim;
    await this.close();
    this.#drop();
    if (claim !== undefined) await this.#options.api.revoke(claim.lease, signal);
  }

  async close(): Promise<void> {
    this.#ending.abort(new HoldfastError('UNAVAILABLE', 'the agent is shutting down'));
    await this.#running;
    clearTimeout(this.#expiry);
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      let pauseMs = this.#times.retryMs;
      try {
        const outcome =
          this.#claim === undefined ? await this.#acquire(signal) : await this.#renew(this.#claim, signal);
        if (outcome === 'again') continue;
        this.#problem = undefined;
        pauseMs = this.#times.renewMs;
      } catch (error) {
        if (signal.aborted) return;
        this.#tellProblem(error);
      }
      await this.#pause(pauseMs);
    }
  }

  async #acquire(signal: AbortSignal): Promise<'held' | 'again'> {
    const { api, key, machine, clock, ttlMs } = this.#options;
    const found = await api.read(key, signal);
    if (found !== undefined && machineOf(found.value) !== machine) {
      throw new HoldfastError(
        'PRECONDITION',
        `another machine has the lease ${key} in etcd (${found.value}), and this one is ${machine}: ` +
          'no two hosts may have the same node name',
      );
    }
    const sentAt = clock();
    const granted = await api.grant(ttlMs, signal);
    const identity = randomUUID();
    const value = formatHostRecord({ identity, machine });
    const isOurs = await api.claim({ key, value, lease: granted.lease, revision: found?.revision }, signal);
    // Somebody else changed it between the two: look again who.
    if (!isOurs) return 'again';
    this.#hold({ lease: granted.lease, identity, value, until: heldUntil(sentAt, Math.min(ttlMs, granted.ttlMs)) });
    return 'held';
  }

  async #renew(claim: Claim, signal: AbortSignal): Promise<'held' | 'again'> {
    const { api, key, clock, ttlMs } = this.#options;
    const sentAt = clock();
    const renewal = await api.keepAlive(claim.lease, signal);
    const confirmation = await api.readWithTerm(key, signal);
    // A commit may have found out meanwhile that it is lost.
    if (this.#claim?.value !== claim.value) return 'again';
    switch (judgeRenewal(claim.value, renewal, confirmation)) {
      case 'renewed':
        this.#hold({ ...claim, until: heldUntil(sentAt, Math.min(ttlMs, renewal.ttlMs)) });
        return 'held';
      case 'gone':
        this.#drop();
        this.#tellProblem(new HoldfastError('UNAVAILABLE', whyGone(key, renewal, confirmation)));
        return 'again';
      case 'unclear':
        throw new HoldfastError('UNAVAILABLE', 'etcd changed its leader while the lease was renewed');
    }
  }

  #hold(claim: Claim): void {
    // The time of the former one may be over without anybody having been told.
    this.#tellState();
    this.#claim = claim;
    this.#tellState();
  }

  #drop(): void {
    this.#claim = undefined;
    this.#tellState();
  }

  /** Tells what is so now, if it is another than was told, and looks again when the time is over. */
  #tellState(): void {
    clearTimeout(this.#expiry);
    const leftMs = this.validForMs();
    // Timers stand still while the host is suspended; the clock does not, and is what decides.
    if (leftMs > 0) this.#expiry = setTimeout(() => this.#tellState(), Math.ceil(leftMs)).unref();
    const state = leftMs > 0 ? 'held' : 'lost';
    if (state === this.#told) return;
    this.#told = state;
    for (const listener of this.#listeners) listener(state);
  }

  #tellProblem(error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem(error);
  }

  async #pause(ms: number): Promise<void> {
    const pause = new AbortController();
    this.#wake = () => pause.abort();
    const signal = AbortSignal.any([pause.signal, this.#ending.signal]);
    try {
      await delay(ms, undefined, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#wake = () => {};
    }
  }
}
