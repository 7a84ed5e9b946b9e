// Hosts whose pods start, churn, come back elsewhere and stop, as fast as they can, and what must be true of their addresses
// between that.
import { performance } from 'node:perf_hooks';
import type { Address } from '../../agent/model/address.ts';
import { expire } from '../../agent/network/expire.ts';
import { keyParts } from '../../agent/network/lease-store.ts';
import { listAll } from '../../agent/network/list-all.ts';
import type { Pool } from '../../agent/network/pool.ts';
import { type AddressRecord, addressKey, FOLDERS } from '../../agent/network/records.ts';
import { parseRecord } from '../../agent/network/transaction.ts';
import { inconsistencies } from '../support/address-consistency.ts';
import {
  type BenchClock,
  type BenchHost,
  type BenchPod,
  type Measured,
  measured,
  NEVER,
  untilDone,
} from './ipam-hosts.ts';
import { cpuSeconds, quantile } from './measure.ts';

const DAY_MS = 86_400_000;

export interface Phase {
  readonly add: Measured;
  readonly del: Measured;
}

export const HEADINGS = [
  'what',
  'seconds',
  'ADD/s',
  'ADD p50',
  'ADD p99',
  'DEL/s',
  'DEL p50',
  'DEL p99',
  'calls each',
  'conflicts each',
  'refused',
  'CPU of the hosts',
  'CPU of etcd',
];

/** How often each is there. */
function formatCounts(names: readonly string[]): string {
  const shown = [...new Set(names)].map((name) => `${names.filter((each) => each === name).length} ${name}`);
  return shown.length === 0 ? 'none' : shown.join(', ');
}

/** @returns a row of the table, and what the work returned */
export async function phase<Result>(
  what: string,
  { hosts, members }: Fleet,
  work: (phase: Phase) => Promise<Result>,
): Promise<{ readonly row: readonly string[]; readonly result: Result }> {
  const done: Phase = { add: measured(), del: measured() };
  const sum = (of: 'calls' | 'conflicts'): number => hosts.reduce((total, { store }) => total + store[of], 0);
  const cpuOf = async (pids: readonly number[]): Promise<number> =>
    (await Promise.all(pids.map(cpuSeconds))).reduce((total, each) => total + each, 0);
  const cpus = [[process.pid], members] as const;
  const [own, etcd] = [await cpuOf(cpus[0]), await cpuOf(cpus[1])];
  const [calls, conflicts, start] = [sum('calls'), sum('conflicts'), performance.now()];
  const result = await work(done);
  const seconds = (performance.now() - start) / 1000;
  const shares = [(await cpuOf(cpus[0])) - own, (await cpuOf(cpus[1])) - etcd];
  const each = done.add.times.length + done.del.times.length;
  const cells = ({ times }: Measured): readonly string[] =>
    times.length === 0
      ? ['', '', '']
      : [(times.length / seconds).toFixed(0), ...[0.5, 0.99].map((share) => `${quantile(times, share).toFixed(1)} ms`)];
  const row = [
    what,
    seconds.toFixed(1),
    ...cells(done.add),
    ...cells(done.del),
    ((sum('calls') - calls) / each).toFixed(2),
    ((sum('conflicts') - conflicts) / each).toFixed(3),
    formatCounts([...done.add.refused, ...done.del.refused]),
    ...shares.map((used) => `${((used / seconds) * 100).toFixed(0)} %`),
  ];
  return { row, result };
}

/** By the index of the host: the pods that were there, with what they had. */
type Leaving = readonly (readonly { readonly pod: BenchPod; readonly had: string }[])[];

/** A pod is on one host at a time, or on its way. */
export class Fleet {
  readonly hosts: readonly BenchHost[];
  readonly pool: Pool;
  /** The processes of etcd. */
  readonly members: readonly number[];
  readonly #clock: BenchClock;
  /** By the index of the host. */
  #held: BenchPod[][];

  constructor(hosts: readonly BenchHost[], members: readonly number[], pool: Pool, clock: BenchClock) {
    this.members = members;
    this.hosts = hosts;
    this.pool = pool;
    this.#clock = clock;
    this.#held = hosts.map(() => []);
  }

  /** One after the other on each host, and all hosts at once. */
  async #onEach(work: (host: BenchHost, held: BenchPod[], index: number) => Promise<void>): Promise<void> {
    await Promise.all(this.hosts.map((host, index) => work(host, this.#held[index] as BenchPod[], index)));
  }

  async start(pods: readonly BenchPod[], { add }: Phase): Promise<void> {
    const from = (index: number): number => Math.floor((index * pods.length) / this.hosts.length);
    await this.#onEach(async (host, held, index) => {
      for (const pod of pods.slice(from(index), from(index + 1))) {
        await host.add(pod, add);
        held.push(pod);
      }
    });
  }

  /** So many pods are deleted and made anew, each on any host. */
  async churn(count: number, { add, del }: Phase): Promise<void> {
    const coming: BenchPod[][] = this.hosts.map(() => []);
    let left = count;
    const settle = async (host: BenchHost, held: BenchPod[], index: number): Promise<void> => {
      for (let pod = coming[index]?.pop(); pod !== undefined; pod = coming[index]?.pop()) {
        await host.add(pod, add);
        held.push(pod);
      }
    };
    await this.#onEach(async (host, held, index) => {
      while (left > 0 && held.length > 0) {
        left -= 1;
        const [pod] = held.splice(Math.floor(Math.random() * held.length), 1) as [BenchPod];
        await host.del(pod, del);
        coming[Math.floor(Math.random() * coming.length)]?.push(pod);
        await settle(host, held, index);
      }
    });
    await this.#onEach(settle);
  }

  /** All pods that keep their addresses go. */
  async leave({ del }: Phase): Promise<Leaving> {
    const leaving = this.#held.map((held) => held.filter(({ owner }) => owner.ip === 'keep'));
    await this.#onEach(async (host, held, index) => {
      for (const pod of leaving[index] ?? []) {
        await host.del(pod, del);
        held.splice(held.indexOf(pod), 1);
      }
    });
    return leaving.map((pods) => pods.map((pod) => ({ pod, had: pod.addresses.join() })));
  }

  /** They come back, each on the host after its own. @throws Error when one gets another address. @returns how many */
  async comeBack(leaving: Leaving, { add }: Phase): Promise<number> {
    await this.#onEach(async (host, held, index) => {
      for (const { pod } of leaving.at(index - 1) ?? []) {
        await host.add(pod, add);
        held.push(pod);
      }
    });
    const all = leaving.flat();
    const others = all.filter(({ pod, had }) => pod.addresses.join() !== had).length;
    requireThat(others === 0, `${others} of ${all.length} pods got another address`);
    return all.length;
  }

  async stop({ del }: Phase): Promise<void> {
    await this.#onEach(async (host, held) => {
      for (let pod = held.pop(); pod !== undefined; pod = held.pop()) await host.del(pod, del);
    });
  }

  /** What waits for pods and apps, after its time. */
  async expire(): Promise<void> {
    this.#clock.ahead += 2 * DAY_MS;
    await this.#onEach(async ({ leases }) => {
      for (let isMore = true; isMore; )
        isMore = await untilDone(
          () => expire(leases, NEVER),
          () => {},
        );
    });
  }

  /** @throws Error when anything contradicts anything: addresses, attachments, blocks, and what the pods were told */
  async verify(): Promise<void> {
    const [{ store }] = this.hosts as [BenchHost];
    const pods = this.#held.flat();
    const told = pods.flatMap(({ addresses }) => addresses);
    requireThat(new Set(told).size === pods.length, `${pods.length} pods have ${new Set(told).size} addresses`);
    const problems = await inconsistencies(store, [this.pool]);
    requireThat(problems.length === 0, `the records contradict each other: ${problems.slice(0, 5).join('; ')}`);
    let attachments = 0;
    for await (const _ of listAll(store, 'attachment', NEVER)) attachments += 1;
    requireThat(attachments === pods.length, `${pods.length} pods have ${attachments} attachments`);
    const held = (await this.#records()).filter(({ state }) => state.kind === 'held').length;
    requireThat(held === pods.length, `${pods.length} pods hold ${held} addresses`);
  }

  /** @throws Error when an address is anybody's */
  async verifyNothingLeft(): Promise<void> {
    await this.verify();
    const { length } = await this.#records();
    requireThat(length === 0, `${length} addresses leaked`);
  }

  async #records(): Promise<readonly AddressRecord[]> {
    const [{ store }] = this.hosts as [BenchHost];
    const records: AddressRecord[] = [];
    for await (const { key, value } of listAll(store, FOLDERS.addresses, NEVER)) {
      const [, pool = '', address = ''] = keyParts(key);
      records.push(parseRecord(key, addressKey(pool, address as Address).schema, value));
    }
    return records;
  }
}

function requireThat(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
