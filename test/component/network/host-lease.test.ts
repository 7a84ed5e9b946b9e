// This host's lease in etcd: who has lost it knows so before others can know, and can change nothing any more.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { HostLease, type HostLeaseOptions } from '../../../agent/cluster/etcd/host-lease.ts';
import { openBootClock } from '../../../agent/host/boot-clock.ts';
import { EtcdLeaseStore } from '../../../agent/network/etcd-lease-store.ts';
import type { HostSession } from '../../../agent/network/host-session.ts';
import { ABSENT, storeKey } from '../../../agent/network/lease-store.ts';
import { describeError } from '../../../lib/errors.ts';
import { connectEtcd, type EtcdCluster, NEEDS_ETCD, startEtcd } from '../../support/etcd.ts';

const never = new AbortController().signal;
const TTL_MS = 5000;
const PATIENCE_MS = 60_000;
const PROGRAM = fileURLToPath(new URL('./host-session-program.ts', import.meta.url));
const pod = storeKey('pods', 'a');
const change = { expect: new Map(), write: new Map([[pod, '1']]) };

t.setTimeout(300_000);

interface Host {
  readonly session: HostLease;
  readonly store: EtcdLeaseStore;
  /** What was told of the session. */
  readonly states: string[];
  readonly problems: string[];
  readonly key: ReturnType<typeof storeKey>;
  /** Resolves when the last state that was told is this one. */
  readonly until: (state: string) => Promise<void>;
}

async function startHost(
  t: Test,
  { urls }: EtcdCluster,
  prefix: string,
  options: Partial<HostLeaseOptions> = {},
): Promise<Host> {
  const { keyValues, leases, connection } = connectEtcd(t, urls, { prefix, timeoutMs: 1500, attemptMs: 1000 });
  const states: string[] = [];
  const problems: string[] = [];
  const key = storeKey('hosts', 'node-1');
  const session = new HostLease({
    api: leases,
    key,
    machine: 'machine-1',
    ttlMs: TTL_MS,
    clock: await openBootClock(),
    onProblem: (error) => problems.push(describeError(error)),
    ...options,
  });
  // As the feature sees it.
  const seen: HostSession = session;
  seen.onChange((state) => states.push(state));
  t.teardown(() => session.close());
  const store = new EtcdLeaseStore({ keyValues, fence: session, close: () => connection.close() });
  const until = async (state: string): Promise<void> => {
    await pollUntil(`the session to be ${state}`, PATIENCE_MS, async () => states.at(-1) === state || undefined);
  };
  session.start();
  return { session, store, states, problems, key, until };
}

t.test('a host and its lease', { skip: NEEDS_ETCD }, async (t) => {
  const cluster = await startEtcd(t, { members: 1 });
  const observer = connectEtcd(t, cluster.urls, { prefix: '/1/' });

  await t.test('a host has its lease until it gives it up, and changes nothing without it', async (t) => {
    const host = await startHost(t, cluster, '/1/');
    await t.rejects(host.store.commit(change, never), { code: 'UNAVAILABLE', message: /no lease/ }, 'not yet');
    await host.until('held');
    t.ok(host.session.isValid());
    t.ok(host.session.validForMs() > 0 && host.session.validForMs() < TTL_MS);
    t.equal(await host.store.commit(change, never), 'done');
    t.equal(await host.store.commit({ ...change, expect: new Map([[pod, ABSENT]]) }, never), 'conflict');
    t.match((await observer.keyValues.read([host.key], never)).get(host.key)?.value, host.session.identity ?? 'none');
    await host.session.release(never);
    t.equal((await observer.keyValues.read([host.key], never)).size, 0, 'others see it at once');
    t.strictSame(host.states, ['held', 'lost']);
    await t.rejects(host.store.commit(change, never), { code: 'UNAVAILABLE' });
    t.strictSame(host.problems, []);
  });

  await t.test('an agent that is started again goes on, and the one before it can change nothing', async (t) => {
    const before = await startHost(t, cluster, '/1/');
    await before.until('held');
    await before.session.close();
    t.equal(await before.store.commit(change, never), 'done', 'until another has the lease');
    const after = await startHost(t, cluster, '/1/');
    await after.until('held');
    t.not(after.session.identity, before.session.identity);
    t.ok(before.session.isValid(), 'it cannot know');
    await t.rejects(before.store.commit(change, never), { code: 'UNAVAILABLE', message: /lost its lease/ });
    t.notOk(before.session.isValid(), 'but now it does');
    t.strictSame(before.states, ['held', 'lost']);
    t.equal(await after.store.commit(change, never), 'done');
    await after.session.release(never);
  });

  await t.test('a host of the same name on another machine is refused while the lease lives', async (t) => {
    const host = await startHost(t, cluster, '/1/');
    await host.until('held');
    const other = await startHost(t, cluster, '/1/', { machine: 'machine-2' });
    await pollUntil('the refusal', PATIENCE_MS, async () => other.problems.length > 0 || undefined);
    t.match(other.problems, [/another machine has the lease .*machine-1.*machine-2/]);
    t.notOk(other.session.isValid());
    await host.session.release(never);
    await other.until('held');
    await other.session.release(never);
  });

  await t.test('a key that is taken away is noticed by the next change, and a new session begins', async (t) => {
    const host = await startHost(t, cluster, '/1/');
    await host.until('held');
    const { identity } = host.session;
    await observer.keyValues.commit({ expect: new Map(), write: new Map([[host.key, undefined]]) }, never);
    // Unless the renewal noticed before.
    if (host.session.identity === identity) await t.rejects(host.store.commit(change, never), { code: 'UNAVAILABLE' });
    await pollUntil('a new session', PATIENCE_MS, async () => host.states.length >= 3 || undefined);
    t.strictSame(host.states, ['held', 'lost', 'held']);
    t.not(host.session.identity, identity);
    t.equal(await host.store.commit(change, never), 'done');
    await host.session.release(never);
  });

  await t.test('while etcd is away the lease is given up in time, and comes back with it', async (t) => {
    const host = await startHost(t, cluster, '/1/');
    await host.until('held');
    await cluster.members[0]?.kill('SIGKILL');
    await host.until('lost');
    t.notOk(host.session.isValid());
    t.equal(host.session.validForMs(), 0);
    await t.rejects(host.store.commit(change, never), { code: 'UNAVAILABLE', message: /no lease/ });
    t.match(host.problems, [/does not answer/]);
    await cluster.members[0]?.start();
    await host.until('held');
    t.equal(await host.store.commit(change, never), 'done');
    await host.session.release(never);
  });

  t.throws(() => new HostLease({ ttlMs: 4000 } as HostLeaseOptions), { code: 'INVALID_CONFIG' });
});

interface Said {
  readonly at: number;
  readonly state?: string;
  readonly identity?: string;
  readonly isValid: boolean;
}

t.test(
  'a process that was stopped for longer than its lease knows so as soon as it goes on',
  { skip: NEEDS_ETCD },
  async (t) => {
    const { urls } = await startEtcd(t, { members: 1 });
    const prefix = '/stopped/';
    const { keyValues } = connectEtcd(t, urls, { prefix });
    const clock = await openBootClock();
    const args = ['--import=tsx', PROGRAM, urls[0] ?? '', prefix, 'node-1', String(TTL_MS)];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    t.teardown(async () => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    });
    const said: Said[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => said.push(JSON.parse(line) as Said));
    const until = (what: string, condition: () => boolean): Promise<true> =>
      pollUntil(what, PATIENCE_MS, async () => condition() || undefined);
    await until('the lease', () => said.at(-1)?.isValid === true);
    const former = said.at(-1)?.identity;
    const key = storeKey('hosts', 'node-1');

    child.kill('SIGSTOP');
    await pollUntil('the end of the lease', PATIENCE_MS, async () =>
      (await keyValues.read([key], never)).size === 0 ? true : undefined,
    );
    const goneAt = clock();
    child.kill('SIGCONT');
    await until('a new session', () => said.at(-1)?.isValid === true && said.at(-1)?.identity !== former);

    const afterwards = said.filter(({ at }) => at >= goneAt);
    const believed = afterwards.filter(({ identity, isValid }) => identity === former && isValid);
    t.strictSame(believed, [], 'it never believed in the former lease again');
    const states = said.flatMap(({ state }) => state ?? []);
    t.strictSame(states, ['held', 'lost', 'held']);
  },
);
