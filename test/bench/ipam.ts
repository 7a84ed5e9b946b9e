// What an address costs where many hosts share them in etcd: one host against the embedded store, then many hosts whose pods
// all start, churn and come back elsewhere, and whether every address was one pod's at any time and is free at the end.
//
//   HOLDFAST_BENCH_HOSTS=50 HOLDFAST_BENCH_PODS=10000 npm run bench -- ipam
import { performance } from 'node:perf_hooks';
import { formatTable } from '../../agent/cli/output.ts';
import { formatAddress, parseAddress } from '../../agent/model/address.ts';
import { EmbeddedLeaseStore } from '../../agent/network/embedded-lease-store.ts';
import { expire } from '../../agent/network/expire.ts';
import type { LeaseStore } from '../../agent/network/lease-store.ts';
import { listAll } from '../../agent/network/list-all.ts';
import type { Pool } from '../../agent/network/pool.ts';
import { FOLDERS, type Owner } from '../../agent/network/records.ts';
import { openStore } from '../../agent/state/open-store.ts';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { inconsistencies } from '../support/address-consistency.ts';
import { NEEDS_ETCD, startEtcd } from '../support/etcd.ts';
import { makeMemoryFolder } from '../support/memory-folder.ts';
import { type Teardown, withTeardown } from '../support/teardown.ts';
import { subnetOfPool } from '../support/test-leases.ts';
import { type BenchClock, BenchHost, type BenchPod, joinEtcd, type Measured, measured } from './ipam-hosts.ts';
import { type Comparison, formatComparisons, quantile } from './measure.ts';

const ROUNDS = 300;
const WARM_UP = 20;
const PODS_OF_AN_APP = 20;
const MODES = ['none', 'keep', 'app'] as const;

const NEVER = new AbortController().signal;

function countFrom(variable: string, otherwise: number): number {
  const text = process.env[variable] ?? `${otherwise}`;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= 60_000) return value;
  throw new HoldfastError('INVALID_REQUEST', `${variable} is ${JSON.stringify(text)}; make it a number up to 60000`);
}

/** A pool of exactly so many addresses, of the subnet 10.`second`.0.0/16. */
function poolOfSize(name: string, second: number, size: number): Pool {
  const first = parseAddress(`10.${second}.0.1`).value;
  const ends = [first, first + BigInt(size) - 1n].map((value) => formatAddress(4, value));
  return { name, subnets: [subnetOfPool(`10.${second}.0.0/16`, [ends.join('-')])], routes: [] };
}

function makePods(count: number): readonly BenchPod[] {
  const apps = Math.max(1, Math.round(count / MODES.length / PODS_OF_AN_APP));
  return Array.from({ length: count }, (_, index): BenchPod => {
    const pod = { namespace: 'bench', name: `pod-${index}` };
    const app = { namespace: 'bench', name: `app-${index % apps}` };
    const ip = MODES[index % MODES.length] ?? 'none';
    return { owner: { pod, ip, ...(ip === 'app' && { app }) }, sandbox: 0, addresses: [] };
  });
}

/** One host's sandboxes, one after the other, on either store in turn. */
async function compareStores(embedded: BenchHost, etcd: BenchHost): Promise<void> {
  const sides = [embedded, etcd].map((host) => {
    const pods = makePods(MODES.length);
    return {
      host,
      pods,
      add: pods.map(measured),
      del: pods.map(measured),
      calls: pods.map(() => ({ add: 0, del: 0 })),
    };
  });
  for (let round = -WARM_UP; round < ROUNDS; round += 1) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      for (const [index, pod] of side.pods.entries()) {
        const [add, del, calls] = [side.add[index], side.del[index], side.calls[index]];
        if (add === undefined || del === undefined || calls === undefined) continue;
        const before = side.host.store.calls;
        await side.host.add(pod, round < 0 ? measured() : add);
        const between = side.host.store.calls;
        await side.host.del(pod, round < 0 ? measured() : del);
        if (round < 0) continue;
        calls.add += between - before;
        calls.del += side.host.store.calls - between;
      }
    }
  }
  const [baseline, shared] = sides;
  if (baseline === undefined || shared === undefined) throw new Error('there are two sides');
  const rows = MODES.flatMap((mode, index): Comparison[] =>
    (['add', 'del'] as const).map((verb) => {
      const calls = (shared.calls[index]?.[verb] ?? 0) / ROUNDS;
      return {
        subject: `${verb.toUpperCase()}, ${mode}: ${calls.toFixed(1)} calls of etcd`,
        baseline: baseline[verb][index]?.times ?? [],
        holdfast: shared[verb][index]?.times ?? [],
      };
    }),
  );
  process.stdout.write(formatComparisons({ baseline: 'embedded', holdfast: 'etcd' }, rows));
}

interface Phase {
  readonly add: Measured;
  readonly del: Measured;
}

const HEADINGS = [
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
  'CPU of this process',
];

/** @returns a row of the table */
async function phase(
  what: string,
  hosts: readonly BenchHost[],
  work: (phase: Phase) => Promise<void>,
): Promise<readonly string[]> {
  const done: Phase = { add: measured(), del: measured() };
  const sum = (of: 'calls' | 'conflicts'): number => hosts.reduce((total, { store }) => total + store[of], 0);
  const [calls, conflicts, cpu, start] = [sum('calls'), sum('conflicts'), process.cpuUsage(), performance.now()];
  await work(done);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const each = done.add.times.length + done.del.times.length;
  const cells = ({ times }: Measured): readonly string[] =>
    times.length === 0
      ? ['', '', '']
      : [(times.length / seconds).toFixed(0), ...[0.5, 0.99].map((share) => `${quantile(times, share).toFixed(1)} ms`)];
  return [
    what,
    seconds.toFixed(1),
    ...cells(done.add),
    ...cells(done.del),
    ((sum('calls') - calls) / each).toFixed(2),
    ((sum('conflicts') - conflicts) / each).toFixed(3),
    `${done.add.refused + done.del.refused}`,
    `${((user + system) / 10_000 / seconds).toFixed(0)} %`,
  ];
}

/** A pod is on one host at a time, or on its way. */
class Fleet {
  readonly hosts: readonly BenchHost[];
  readonly pool: Pool;
  readonly #clock: BenchClock;
  /** By the index of the host. */
  #held: BenchPod[][];

  constructor(hosts: readonly BenchHost[], pool: Pool, clock: BenchClock) {
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
    await this.#onEach(async (host, held, index) => {
      for (let next = index; next < pods.length; next += this.hosts.length) {
        const pod = pods[next] as BenchPod;
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

  /** Every pod that keeps its address goes, and comes back on the next host. */
  async recreate(phase: Phase): Promise<string> {
    const before = new Map(this.#held.flat().map((pod) => [pod, pod.addresses.join()] as const));
    const leaving = this.#held.map((held) => held.filter(({ owner }) => owner.ip === 'keep'));
    const start = performance.now();
    await this.#onEach(async (host, held, index) => {
      for (const pod of leaving[index] ?? []) {
        await host.del(pod, phase.del);
        held.splice(held.indexOf(pod), 1);
      }
    });
    const gone = performance.now();
    await this.#onEach(async (host, held, index) => {
      for (const pod of leaving.at(index - 1) ?? []) {
        await host.add(pod, phase.add);
        held.push(pod);
      }
    });
    const back = performance.now();
    const pods = leaving.flat();
    const same = pods.filter((pod) => pod.addresses.join() === before.get(pod)).length;
    requireThat(same === pods.length, `${pods.length - same} of ${pods.length} pods got another address`);
    const seconds = (back - gone) / 1000;
    return (
      `recreate-all: ${same} of ${pods.length} pods got their address back on another host: ` +
      `released in ${((gone - start) / 1000).toFixed(1)} s, granted in ${seconds.toFixed(1)} s (${(same / seconds).toFixed(0)}/s)`
    );
  }

  async stop({ del }: Phase): Promise<void> {
    await this.#onEach(async (host, held) => {
      for (let pod = held.pop(); pod !== undefined; pod = held.pop()) await host.del(pod, del);
    });
  }

  /** What waits for pods and apps, after its time. */
  async expire(): Promise<void> {
    this.#clock.ahead += 2 * 86_400_000;
    await this.#onEach(async ({ leases }) => {
      while (await expire(leases, NEVER)) if (NEVER.aborted) return;
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
  }

  async addressesOnRecord(): Promise<number> {
    const [{ store }] = this.hosts as [BenchHost];
    let count = 0;
    for await (const _ of listAll(store, FOLDERS.addresses, NEVER)) count += 1;
    return count;
  }
}

function requireThat(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

async function measureFleet(fleet: Fleet, size: number): Promise<void> {
  const { hosts } = fleet;
  const pods = makePods(size);
  const rows: (readonly string[])[] = [];
  const said: string[] = [];
  rows.push(await phase('all start in an empty pool', hosts, (done) => fleet.start(pods, done)));
  await fleet.verify();
  rows.push(await phase('churn in a full pool', hosts, (done) => fleet.churn(size, done)));
  await fleet.verify();
  rows.push(await phase('recreate all with keep', hosts, async (done) => void said.push(await fleet.recreate(done))));
  await fleet.verify();
  rows.push(await phase('all stop', hosts, (done) => fleet.stop(done)));
  await fleet.expire();
  await fleet.verify();
  const left = await fleet.addressesOnRecord();
  requireThat(left === 0, `${left} addresses leaked`);
  const owner: Owner = { ip: 'none', pod: { namespace: 'bench', name: 'again' } };
  const others = pods.map(
    (_, index): BenchPod => ({
      owner: { ...owner, pod: { namespace: 'bench', name: `again-${index}` } },
      sandbox: 0,
      addresses: [],
    }),
  );
  rows.push(await phase('all start again', hosts, (done) => fleet.start(others, done)));
  await fleet.verify();
  said.push(
    `no duplicate in ${rows.length} checks; no leak: after all went, the whole pool of ${size} was granted again`,
  );
  process.stdout.write(`\n${formatTable(HEADINGS, rows)}\n${said.join('\n')}\n`);
}

async function embeddedStore(scope: Teardown): Promise<LeaseStore> {
  const directory = await makeMemoryFolder(scope);
  const onProblem = (error: Error): void => void process.stderr.write(`${describeError(error)}\n`);
  const { store: state } = await openStore({ directory, onProblem });
  const store = new EmbeddedLeaseStore(state);
  scope.teardown(async () => {
    await store.close();
    await state.close();
  });
  return store;
}

async function measureCluster(scope: Teardown, members: number): Promise<void> {
  const { urls: endpoints } = await startEtcd(scope, { members });
  const [hostCount, size] = [countFrom('HOLDFAST_BENCH_HOSTS', 50), countFrom('HOLDFAST_BENCH_PODS', 10_000)];
  const clock: BenchClock = { ahead: 0 };
  process.stdout.write(`\netcd with ${members} member${members === 1 ? '' : 's'}, one host\n\n`);
  const single = poolOfSize('single', 127, 256);
  const embedded = new BenchHost('single', await embeddedStore(scope), single, clock);
  await compareStores(embedded, await joinEtcd(scope, { endpoints, prefix: '/single/' }, 'single', single, clock));
  process.stdout.write(`\netcd with ${members} member${members === 1 ? '' : 's'}, ${hostCount} hosts, ${size} pods\n`);
  const pool = poolOfSize('pods', 128, size);
  const names = Array.from({ length: hostCount }, (_, index) => `host-${index}`);
  const hosts = await Promise.all(
    names.map((name) => joinEtcd(scope, { endpoints, prefix: '/fleet/' }, name, pool, clock)),
  );
  await measureFleet(new Fleet(hosts, pool, clock), size);
}

export async function run(): Promise<void> {
  if (NEEDS_ETCD !== false) {
    process.stdout.write(`left out: ${NEEDS_ETCD}\n`);
    return;
  }
  process.stdout.write('The data of etcd and of the embedded store is in memory; all processes share these CPUs.\n');
  for (const members of [1, 3]) await withTeardown((scope) => measureCluster(scope, members));
}
