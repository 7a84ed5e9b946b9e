// What an address costs where many hosts share them in etcd: one host against the embedded store, then many hosts whose pods
// all start, churn and come back elsewhere, and whether every address was one pod's at any time and is free at the end.
//
//   HOLDFAST_BENCH_HOSTS=50 HOLDFAST_BENCH_PODS=10000 HOLDFAST_BENCH_MEMBERS=3 npm run bench -- ipam
import { formatTable } from '../../agent/cli/output.ts';
import { formatAddress, parseAddress } from '../../agent/model/address.ts';
import { EmbeddedLeaseStore } from '../../agent/network/embedded-lease-store.ts';
import type { LeaseStore } from '../../agent/network/lease-store.ts';
import type { Pool } from '../../agent/network/pool.ts';
import type { Owner } from '../../agent/network/records.ts';
import { openStore } from '../../agent/state/open-store.ts';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { NEEDS_ETCD, startEtcd } from '../support/etcd.ts';
import { makeMemoryFolder } from '../support/memory-folder.ts';
import { type Teardown, withTeardown } from '../support/teardown.ts';
import { subnetOfPool } from '../support/test-leases.ts';
import { Fleet, HEADINGS, type Phase, phase } from './ipam-fleet.ts';
import { type BenchClock, BenchHost, type BenchPod, joinEtcd, measured } from './ipam-hosts.ts';
import { type Comparison, formatComparisons } from './measure.ts';

const ROUNDS = 300;
const WARM_UP = 20;
const PODS_OF_AN_APP = 20;
const MODES = ['none', 'keep', 'app'] as const;

function countFrom(variable: string, otherwise: number, most: number): number {
  const text = process.env[variable] ?? `${otherwise}`;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
  throw new HoldfastError(
    'INVALID_REQUEST',
    `${variable} is ${JSON.stringify(text)}; make it a number from 1 to ${most}`,
  );
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
    const app = { namespace: 'bench', name: `app-${Math.floor(index / MODES.length) % apps}` };
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

async function measureFleet(fleet: Fleet, size: number): Promise<void> {
  const ownerOf = (index: number): Owner => ({ ip: 'none', pod: { namespace: 'bench', name: `again-${index}` } });
  const [pods, others] = [makePods(size), makePods(size).map((pod, index) => ({ ...pod, owner: ownerOf(index) }))];
  const rows: (readonly string[])[] = [];
  const measure = async <Result>(what: string, work: (done: Phase) => Promise<Result>): Promise<Result> => {
    const { row, result } = await phase(what, fleet, work);
    rows.push(row);
    await fleet.verify();
    return result;
  };
  await measure('all start in an empty pool', (done) => fleet.start(pods, done));
  await measure('churn in a full pool', (done) => fleet.churn(size, done));
  const leaving = await measure('recreate-all: those with keep go', (done) => fleet.leave(done));
  const back = await measure('recreate-all: they come elsewhere', (done) => fleet.comeBack(leaving, done));
  await measure('all stop', (done) => fleet.stop(done));
  await fleet.expire();
  await fleet.verifyNothingLeft();
  await measure('all start again, none known', (done) => fleet.start(others, done));
  process.stdout.write(
    `\n${formatTable(HEADINGS, rows)}\n` +
      `recreate-all: ${back} of ${back} pods got their address back on another host\n` +
      `no duplicate in ${rows.length} checks of all records; no leak: after all went, all ${size} addresses were granted again\n`,
  );
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
  const { urls: endpoints, members: programs } = await startEtcd(scope, { members });
  const pids = programs.flatMap(({ pid }) => pid() ?? []);
  const [hostCount, size] = [
    countFrom('HOLDFAST_BENCH_HOSTS', 20, 1000),
    countFrom('HOLDFAST_BENCH_PODS', 2000, 60_000),
  ];
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
  await measureFleet(new Fleet(hosts, pids, pool, clock), size);
}

export async function run(): Promise<void> {
  if (NEEDS_ETCD !== false) {
    process.stdout.write(`left out: ${NEEDS_ETCD}\n`);
    return;
  }
  process.stdout.write('The data of etcd and of the embedded store is in memory; all processes share these CPUs.\n');
  const members =
    process.env['HOLDFAST_BENCH_MEMBERS'] === undefined ? [1, 3] : [countFrom('HOLDFAST_BENCH_MEMBERS', 1, 7)];
  for (const count of members) await withTeardown((scope) => measureCluster(scope, count));
}
