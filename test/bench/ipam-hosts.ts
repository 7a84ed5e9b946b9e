// Hosts that share a store of addresses, each with a connection, a lease and turns of its own as an agent has them, and what
// they ask of the store, counted.
import { setMaxListeners } from 'node:events';
import { performance } from 'node:perf_hooks';
import { pollUntil } from '../../agent/cli/quickstart/poll.ts';
import { EtcdConnection } from '../../agent/cluster/etcd/connection.ts';
import { HostLease } from '../../agent/cluster/etcd/host-lease.ts';
import { EtcdKeyValues } from '../../agent/cluster/etcd/key-values.ts';
import { LeaseApi } from '../../agent/cluster/etcd/lease-api.ts';
import { openBootClock } from '../../agent/host/boot-clock.ts';
import { acquire } from '../../agent/network/acquire.ts';
import { EtcdLeaseStore } from '../../agent/network/etcd-lease-store.ts';
import type { LeaseContext } from '../../agent/network/lease-context.ts';
import {
  type LeaseStore,
  type ListedEntry,
  type ListOptions,
  type StoreChange,
  type StoreKey,
  storeKey,
} from '../../agent/network/lease-store.ts';
import type { Pool } from '../../agent/network/pool.ts';
import type { Owner } from '../../agent/network/records.ts';
import { release } from '../../agent/network/release.ts';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { KeyedMutex } from '../../lib/keyed-mutex.ts';
import type { Teardown } from '../support/teardown.ts';

export const NEVER = new AbortController().signal;
// One signal for everything that all hosts do at once; a real request has one of its own.
setMaxListeners(0, NEVER);
const TTL_MS = 30_000;
/** Keys that one call lists (agent/cluster/etcd/key-values.ts). */
const LISTED_AT_ONCE = 200;
/** A refusal is one that a runtime meets by trying again; this often in a row it is none any more. */
const MOST_TRIES = 1000;

/** Counts what is asked. */
export class CountedStore implements LeaseStore {
  readonly #store: LeaseStore;
  calls = 0;
  conflicts = 0;

  constructor(store: LeaseStore) {
    this.#store = store;
  }

  read(keys: readonly StoreKey[], signal: AbortSignal): ReturnType<LeaseStore['read']> {
    this.calls += 1;
    return this.#store.read(keys, signal);
  }

  async list(folder: string, options: ListOptions, signal: AbortSignal): Promise<readonly ListedEntry[]> {
    const listed = await this.#store.list(folder, options, signal);
    this.calls += Math.max(1, Math.ceil(listed.length / LISTED_AT_ONCE));
    return listed;
  }

  async commit(change: StoreChange, signal: AbortSignal): Promise<'done' | 'conflict'> {
    this.calls += 1;
    const outcome = await this.#store.commit(change, signal);
    if (outcome === 'conflict') this.conflicts += 1;
    return outcome;
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

export interface BenchPod {
  readonly owner: Owner;
  /** Of the present or the last sandbox; another one for each. */
  sandbox: number;
  /** Of the present or the last sandbox. */
  addresses: readonly string[];
}

/** What the calls of one kind took, in milliseconds, and how often a runtime would have had to try again. */
export interface Measured {
  readonly times: number[];
  /** The codes of the refusals. */
  readonly refused: string[];
}

export const measured = (): Measured => ({ times: [], refused: [] });

export interface BenchClock {
  /** Milliseconds that are added to the time of day. */
  ahead: number;
}

/** Everything of a host that this measures: no interfaces. */
export class BenchHost {
  readonly store: CountedStore;
  readonly leases: LeaseContext;
  readonly #pool: Pool;

  constructor(name: string, store: LeaseStore, pool: Pool, clock: BenchClock) {
    this.store = new CountedStore(store);
    this.#pool = pool;
    this.leases = {
      store: this.store,
      host: name,
      otherHosts: undefined,
      turns: new KeyedMutex(),
      pools: new Map([[pool.name, pool]]),
      // Without a cooldown, for the pool is no larger than the number of pods.
      options: { keepFor: 86_400_000, reserve: { cap: 16, keepFor: 86_400_000 }, cooldown: 0 },
      now: () => Date.now() + clock.ahead,
      hints: new Map(),
      onHandover: () => {},
    };
  }

  async add(pod: BenchPod, into: Measured): Promise<void> {
    pod.sandbox += 1;
    const { owner } = pod;
    const netns = '/run/netns/bench';
    const request = { id: idOf(pod), pool: this.#pool, owner, mode: 'routed', netns, silenced: [] } as const;
    const acquired = await timed(() => acquire(this.leases, request, NEVER), into);
    if (acquired.kind !== 'granted') throw new Error(`${owner.pod?.name} is on two hosts`);
    pod.addresses = acquired.grants.map(({ address }) => address);
  }

  async del(pod: BenchPod, into: Measured): Promise<void> {
    await timed(() => release(this.leases, idOf(pod), NEVER), into);
  }
}

const idOf = ({ owner, sandbox }: BenchPod) => ({
  network: 'pods',
  containerId: `${owner.pod?.name ?? ''}-${sandbox}`,
  ifname: 'eth0',
});

async function timed<Result>(work: () => Promise<Result>, into: Measured): Promise<Result> {
  const start = performance.now();
  const result = await untilDone(work, ({ code }) => into.refused.push(code));
  into.times.push(performance.now() - start);
  return result;
}

/** As a runtime does it, and the agent with its own work: what cannot be done now is tried again. */
export async function untilDone<Result>(
  work: () => Promise<Result>,
  onRefused: (error: HoldfastError) => void,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const isRepeatable = error instanceof HoldfastError && ['NO_ROOM', 'UNAVAILABLE'].includes(error.code);
      if (!isRepeatable || attempt === MOST_TRIES) throw error;
      onRefused(error);
    }
  }
}

/** With the host's lease, as every change of a host in a cluster is fenced by it. */
export async function joinEtcd(
  scope: Teardown,
  { endpoints, prefix }: { readonly endpoints: readonly string[]; readonly prefix: string },
  name: string,
  pool: Pool,
  clock: BenchClock,
): Promise<BenchHost> {
  const onProblem = (error: unknown): void => void process.stderr.write(`${name}: ${describeError(error)}\n`);
  const connection = new EtcdConnection({ endpoints, onProblem });
  const keyValues = new EtcdKeyValues(connection, prefix);
  const session = new HostLease({
    api: new LeaseApi(connection, keyValues, prefix),
    key: storeKey('hosts', name),
    machine: name,
    ttlMs: TTL_MS,
    clock: await openBootClock(),
    onProblem,
  });
  scope.teardown(async () => {
    await session.close();
    connection.close();
  });
  session.start();
  await pollUntil(`${name} to have its lease`, TTL_MS, async () => session.isValid() || undefined);
  const store = new EtcdLeaseStore({ keyValues, fence: session, close: () => connection.close() });
  return new BenchHost(name, store, pool, clock);
}
