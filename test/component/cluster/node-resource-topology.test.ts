// The object in an API server, over real HTTPS with a real kubeconfig: changes, refusals, other writers.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { ApiCredentials } from '../../../agent/cluster/api-access.ts';
import { readOwners } from '../../../agent/cluster/node-resource-topology-api.ts';
import { APPLY_TIMES, type ApplyTimes } from '../../../agent/cluster/plan-apply.ts';
import {
  type PublishedObject,
  publishNodeResourceTopology,
} from '../../../agent/cluster/publish-node-resource-topology.ts';
import { Changes } from '../../../lib/changes.ts';
import { FakeTopologyServer } from '../../support/fake-topology-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const PATIENT_MS = 60_000;
const NODE = 'worker-1';
/** Nothing happens but on a change or after a failure. */
const QUICK: ApplyTimes = { ...APPLY_TIMES, settleMs: 1, pauseMs: 1, longestPauseMs: 20, rivalMs: 3_600_000 };

const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-nrt-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const authority = await makeAuthority(folder);
const identity = await authority.issue('api server', 'IP:127.0.0.1');

async function kubeconfigOf(api: FakeTopologyServer, user: object, t: Test): Promise<string> {
  const file = join(await mkdtemp(join(folder, 'k-')), 'kubeconfig');
  t.teardown(() => rm(file, { force: true }));
  const cluster = { server: api.url, 'certificate-authority': join(folder, 'ca.crt') };
  const content = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
  };
  await writeFile(file, JSON.stringify(content));
  return file;
}

interface Bench {
  readonly api: FakeTopologyServer;
  readonly changes: Changes;
  readonly credentials: ApiCredentials;
  readonly log: readonly { readonly level: number; readonly msg: string }[];
  readonly published: PublishedObject;
  /** How often the object was planned. */
  readonly plans: () => number;
  /** What the plan says from now on; told as a change. */
  readonly say: (zone: string) => void;
}

async function bench(
  t: Test,
  prepare: (api: FakeTopologyServer) => void = () => undefined,
  times = QUICK,
  user: object = { token: 'x' },
) {
  const api = new FakeTopologyServer(NODE, identity);
  prepare(api);
  await api.start();
  t.teardown(() => api.stop());
  const file = await kubeconfigOf(api, user, t);
  const credentials = new ApiCredentials(async () => file);
  const changes = new Changes();
  const log: { readonly level: number; readonly msg: string }[] = [];
  const write = (line: string): void => void log.push(JSON.parse(line) as (typeof log)[number]);
  let zone = 'first';
  let planned = 0;
  const published = publishNodeResourceTopology({
    credentials,
    nodeName: NODE,
    plan: (uid) => {
      planned += 1;
      return { metadata: { name: NODE, ownerReferences: [{ uid }] }, zones: [{ name: zone }] };
    },
    versions: changes,
    metrics: new Registry(),
    logger: pino({ level: 'info' }, { write }),
    times,
  });
  t.teardown(() => published.close());
  const say = (next: string): void => {
    zone = next;
    changes.announce();
  };
  return { api, changes, credentials, log, published, plans: () => planned, say } satisfies Bench;
}

const until = (what: string, condition: () => boolean) =>
  pollUntil(what, PATIENT_MS, async () => (condition() ? true : undefined));
const zoneOf = ({ object }: FakeTopologyServer): string | undefined => object?.zones[0]?.name;

t.test('the object is made, owned by its Node, and follows every change', async (t) => {
  const { api, published, say, log } = await bench(t);
  await until('the object', () => zoneOf(api) === 'first');
  t.match(api.object, { metadata: { ownerReferences: [{ uid: 'node-uid' }] } });
  t.equal(api.applied[0]?.force, false);
  say('second');
  await until('the change', () => zoneOf(api) === 'second');
  for (const name of ['a', 'b', 'c', 'third']) say(name);
  await until('the last of many changes', () => zoneOf(api) === 'third');
  await until('the status', () => published.status().level === 'ok');
  t.strictSame(log, [], 'there is nothing to tell');
  await published.close();
  const asked = api.requests.length;
  say('fourth');
  t.equal(api.requests.length, asked, 'closed is closed');
});

t.test('it is looked after without a change: what somebody deleted is made again', async (t) => {
  const { api } = await bench(t, undefined, { ...QUICK, verifyMs: 50 });
  await until('the object', () => api.object !== undefined);
  api.object = undefined;
  await until('another one', () => api.object !== undefined);
  t.pass('it came back');
});

t.test('a Node that was made anew owns it from the next look on', async (t) => {
  const { api } = await bench(t, undefined, { ...QUICK, verifyMs: 50 });
  await until('the object', () => api.object !== undefined);
  api.nodeUid = 'another';
  await until('the other owner', () => api.object?.metadata.ownerReferences?.[0]?.uid === 'another');
  t.pass('without a change');
});

t.test('a change that does not show in the object costs no request, another one only the object itself', async (t) => {
  const { api, plans, say } = await bench(t);
  await until('the object', () => api.object !== undefined);
  const before = plans();
  say('first');
  await until('the change to be looked at', () => plans() > before);
  say('second');
  await until('the change', () => zoneOf(api) === 'second');
  const object = `PATCH /apis/topology.node.k8s.io/v1alpha2/noderesourcetopologies/${NODE}`;
  t.strictSame(api.requests, [`GET /api/v1/nodes/${NODE}`, object, object]);
});

t.test('changes between two looks share one connection, and a closed publisher has none', async (t) => {
  const { api, published, say } = await bench(t);
  for (const name of ['first', 'second', 'third']) {
    if (name !== 'first') say(name);
    await until(`the ${name}`, () => zoneOf(api) === name);
  }
  t.equal(api.connections, 1);
  t.equal(api.open, 1);
  await published.close();
  await until('no connection to be open', () => api.open === 0);
});

t.test('every look has a new connection, and the one before is closed', async (t) => {
  const { api, published } = await bench(t, undefined, { ...QUICK, verifyMs: 5 });
  await until('some looks', () => api.connections >= 5);
  await published.close();
  await until('all of them to be closed', () => api.open === 0);
  t.pass('none is left');
});

t.test('failures leave no connection behind', async (t) => {
  const { api, published } = await bench(t, (made) => Object.assign(made, { outage: 500 }));
  await until('some failures', () => api.connections >= 5);
  await published.close();
  await until('all of them to be closed', () => api.open === 0);
  t.pass('none is left');
});

t.test('credentials that are not accepted any more are asked for again', async (t) => {
  const tokens = await mkdtemp(join(folder, 'token-'));
  const file = join(tokens, 'token');
  await writeFile(file, 'old');
  const credential =
    '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"expirationTimestamp":"2100-01-01T00:00:00Z","token":"\'$(cat "$0")\'"}}';
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: 'sh',
    args: ['-c', `printf %s '${credential}'`, file],
    interactiveMode: 'Never',
  };
  const { api, log, say } = await bench(t, (made) => Object.assign(made, { token: 'old' }), QUICK, { exec });
  await until('the object', () => zoneOf(api) === 'first');
  await writeFile(file, 'new');
  api.token = 'new';
  say('second');
  await until('the object with the new token', () => zoneOf(api) === 'second');
  await until('the end of the problem', () => log.length === 2);
  t.match(log, [
    { level: 40, msg: /answers 401/ },
    { level: 30, msg: /object worker-1/ },
  ]);
});

const refusals: readonly (readonly [string, (api: FakeTopologyServer, isBroken: boolean) => void, RegExp])[] = [
  ['a missing kind', (api, is) => Object.assign(api, { hasKind: !is }), /node-resource-topology-crd\.yaml/],
  ['a missing right', (api, is) => Object.assign(api, { mayWrite: !is }), /cannot patch.*docs\/node-resource-topology/],
  ['a missing Node', (api, is) => Object.assign(api, { nodeUid: is ? undefined : 'u' }), /no Node worker-1/],
  ['a server that fails', (api, is) => Object.assign(api, { outage: is ? 500 : undefined }), /answers 500/],
];

for (const [what, set, problem] of refusals) {
  t.test(`${what} is one warning, however often it is tried, and is over when it is put right`, async (t) => {
    const { api, published, log, say } = await bench(t, (made) => set(made, true));
    await until('several attempts', () => api.requests.filter((each) => each.includes('/nodes/')).length >= 5);
    t.match(published.status(), { level: 'warning', text: problem });
    t.match(log, [{ level: 40, msg: problem }]);
    t.equal(log.length, 1);
    set(api, false);
    say('later');
    await until('the object', () => zoneOf(api) === 'later');
    await until('the status', () => published.status().level === 'ok');
    t.equal(log.length, 2, 'and one line that it is over');
  });
}

t.test('what another program left behind is taken over, with a warning', async (t) => {
  const { api, published, log } = await bench(t, (made) => made.write('nfd-topology-updater', [{ name: 'theirs' }]));
  await until('our object', () => zoneOf(api) === 'first');
  t.equal(api.manager, 'holdfast');
  await until('the status', () => published.status().level === 'warning');
  t.match(published.status(), { text: /taken over from nfd-topology-updater/ });
  t.equal(log.length, 1);
});

t.test('a program that takes it back is not fought with, and is a failure', async (t) => {
  const { api, published, say, log } = await bench(t);
  await until('the object', () => zoneOf(api) === 'first');
  api.write('koordlet', [{ name: 'theirs' }]);
  say('second');
  await until('our object again', () => zoneOf(api) === 'second');
  api.write('koordlet', [{ name: 'theirs again' }]);
  say('third');
  await until('the failure', () => published.status().level === 'failed');
  t.match(published.status(), { text: /koordlet writes the object worker-1, too/ });
  t.equal(zoneOf(api), 'theirs again', 'it has the last word for now');
  t.equal(api.applied.filter(({ force }) => force).length, 1);
  t.strictSame(
    log.map(({ level }) => level),
    [40, 50],
  );
});

t.test('whose the object is', async (t) => {
  const { api, credentials, published } = await bench(t);
  await until('the object', () => api.object !== undefined);
  await published.close();
  const { signal } = new AbortController();
  const access = await credentials.open(signal);
  t.teardown(() => access.close());
  const limits = { answerMs: PATIENT_MS, idleMs: PATIENT_MS, totalMs: PATIENT_MS };
  const owners = () => readOwners({ access, nodeName: NODE, limits, signal });
  t.strictSame(await owners(), { others: [], isOurs: true });
  api.write('nfd', []);
  t.strictSame(await owners(), { others: ['nfd'], isOurs: false });
  api.object = undefined;
  t.equal(await owners(), undefined);
  api.hasKind = false;
  await t.rejects(owners(), { code: 'PRECONDITION', message: /crd\.yaml/ });
});
