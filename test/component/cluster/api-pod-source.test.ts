// The pods of a node from an API server, over HTTPS: what is told, what is said while it is away, and what never looks
// like a deletion.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { ApiCredentials } from '../../../agent/cluster/api-access.ts';
import { startApiPodSource } from '../../../agent/cluster/api-pod-source.ts';
import { API_TIMES, type ApiTimes } from '../../../agent/cluster/follow-objects.ts';
import type { PodName, PodPhase, PodSource } from '../../../agent/cluster/pod-source.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { FakeApiServer, refusal } from '../../support/fake-api-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const PATIENCE_MS = 60_000;
/** Failures follow each other at once. */
const QUICK: ApiTimes = { ...API_TIMES, pauseMs: 5, longestPauseMs: 20 };

const pod = (name: string, uid = `uid-${name}`): PodName => ({ uid: podUid(uid), namespace: 'default', name });

async function folderFor(t: Test): Promise<string> {
  const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-api-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const certificates = folderFor(t).then(async (folder) => {
  const authority = await makeAuthority(folder);
  return { authority, identity: await authority.issue('api server', 'IP:127.0.0.1,DNS:api.test') };
});

interface Cluster {
  readonly api: FakeApiServer;
  /** Problems as they were told. */
  readonly problems: string[];
  readonly start: (times?: Partial<ApiTimes>) => Promise<PodSource>;
  /** What the source reads; written by `start`. */
  readonly kubeconfig: string;
}

async function clusterFor(t: Test): Promise<Cluster> {
  const { authority, identity } = await certificates;
  const folder = await folderFor(t);
  const api = new FakeApiServer(identity, authority.ca);
  await api.start();
  t.teardown(() => api.stop());
  const problems: string[] = [];
  const file = join(folder, 'kubeconfig');
  return {
    api,
    problems,
    kubeconfig: file,
    start: async (times = {}) => {
      await writeFile(file, kubeconfigFor(api.url, authority.ca));
      const source = await startApiPodSource({
        credentials: new ApiCredentials(async () => file),
        nodeName: 'node-1',
        times: { ...QUICK, ...times },
        onError: (problem) => problems.push(String(problem)),
      });
      t.teardown(() => source.close());
      // On a busy machine loading the client library alone may take longer than the source waits.
      await until('a first answer', () => !/not answered yet/.test(source.status().problem ?? ''));
      return source;
    },
  };
}

function kubeconfigFor(server: string, ca: string): string {
  return JSON.stringify({
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
    users: [{ name: 'u', user: { token: 'secret-token' } }],
  });
}

const until = (what: string, holds: () => boolean): Promise<boolean> =>
  pollUntil(what, PATIENCE_MS, async () => holds() || undefined);

const becomes = (source: PodSource, name: PodName, phase: PodPhase): Promise<boolean> =>
  until(`${name.name} to be ${phase}`, () => source.phaseOf(name) === phase);

/** Problems may pass before anybody looks; what was told stays. */
const wasTold = (problems: readonly string[], pattern: RegExp): Promise<boolean> =>
  until(`the problem ${pattern}`, () => problems.some((problem) => pattern.test(problem)));

const isWatching = (api: FakeApiServer): Promise<boolean> => until('a watch', () => api.openWatches > 0);

t.test('pods are known from the list on, and followed', async (t) => {
  const { api, start } = await clusterFor(t);
  api.create('web', {
    spec: {
      initContainers: [{ name: 'setup' }, { name: 'log', restartPolicy: 'Always' }],
      containers: [{ name: 'main', resources: { requests: { memory: '1Gi' } } }],
    },
  });
  const source = await start();
  t.equal(source.phaseOf(pod('web')), 'present', 'at once');
  t.match(
    source.find(pod('web'))?.containers.map(({ name, kind }) => `${name} ${kind}`),
    ['setup init', 'log sidecar', 'main app'],
  );
  t.match(source.status(), { name: `API server ${api.url} (node node-1)`, problem: undefined });
  const [list] = api.requests;
  t.equal(list?.parameters.get('fieldSelector'), 'spec.nodeName=node-1');
  t.equal(list?.parameters.get('resourceVersion'), '0', 'the first list costs the server little');
  t.equal(list?.authorization, 'Bearer secret-token');

  await isWatching(api);
  let changes = 0;
  source.onChange(() => {
    changes += 1;
  });
  api.create('db');
  await becomes(source, pod('db'), 'present');
  api.update('db', { deletionTimestamp: '2026-01-01T00:00:00Z' });
  await becomes(source, pod('db'), 'deleting');
  api.delete('db');
  await becomes(source, pod('db'), 'deleted');
  api.create('job');
  api.update('job', { phase: 'Succeeded' });
  await becomes(source, pod('job'), 'finished');
  t.ok(changes >= 4, 'listeners were told');
  t.equal(source.phaseOf(pod('never-seen')), 'unknown');
  t.equal(api.requestsOf('list').length, 1);
});

t.test('a pod of the same name is another pod', async (t) => {
  const { api, start } = await clusterFor(t);
  api.create('db-0', { uid: 'old' });
  const source = await start();
  await isWatching(api);
  api.delete('db-0', { uid: 'old' });
  api.create('db-0', { uid: 'new' });
  await becomes(source, pod('db-0', 'new'), 'present');
  t.equal(source.phaseOf(pod('db-0', 'old')), 'deleted');
  t.equal(source.phaseOf(pod('db-0', 'newer')), 'unknown', 'the runtime may know of it before the view does');
});

t.test('static pods are known by what their mirrors say, and a deleted mirror is no deleted pod', async (t) => {
  const { api, start } = await clusterFor(t);
  const annotations = { 'kubernetes.io/config.mirror': 'hash', 'kubernetes.io/config.hash': 'hash' };
  api.create('etcd-node-1', { uid: 'mirror', annotations, deletionTimestamp: '2026-01-01T00:00:00Z' });
  const source = await start();
  const etcd = pod('etcd-node-1', 'hash');
  t.equal(source.phaseOf(etcd), 'present');
  t.match(source.find(etcd), { uid: 'hash', deleting: false });
  t.equal(source.phaseOf(pod('another', 'hash')), 'unknown', 'the annotation alone proves nothing');
  t.equal(source.phaseOf(pod('etcd-node-1', 'hash of the manifest before')), 'unknown');
  await isWatching(api);
  api.delete('etcd-node-1', { uid: 'mirror', annotations });
  await becomes(source, etcd, 'unknown');
  t.equal(source.phaseOf(pod('etcd-node-1', 'mirror')), 'unknown');
});

t.test('a watch that was cut goes on where it was, without a list', async (t) => {
  const { api, problems, start } = await clusterFor(t);
  const source = await start();
  await isWatching(api);
  api.create('a');
  await becomes(source, pod('a'), 'present');
  api.cutWatches('{"type":"ADDED","object":{"metadata":{"name":"cut');
  api.create('b');
  api.delete('a');
  await becomes(source, pod('b'), 'present');
  await becomes(source, pod('a'), 'deleted');
  await isWatching(api);
  api.endWatches();
  await until('another watch', () => api.requestsOf('watch').length >= 3);
  t.equal(api.requestsOf('list').length, 1);
  t.match(problems, [/^the connection to the API server broke/]);
  t.equal(api.requestsOf('watch').at(1)?.parameters.get('resourceVersion'), '101');
});

t.test('bookmarks move the place where the next watch begins', async (t) => {
  const { api, start } = await clusterFor(t);
  const source = await start();
  await isWatching(api);
  api.restore(500);
  api.bookmark();
  api.create('a');
  await becomes(source, pod('a'), 'present');
  api.restore(900);
  api.bookmark();
  api.endWatches();
  await until(
    'a watch from the bookmark',
    () => api.requestsOf('watch').at(-1)?.parameters.get('resourceVersion') === '900',
  );
  t.equal(api.requestsOf('list').length, 1);
});

for (const [how, expire] of [
  ['as an event', (api: FakeApiServer) => api.compact()],
  ['as an answer', (api: FakeApiServer) => api.answerNext('watch', refusal(410, 'Expired', 'too old'))],
] as const) {
  t.test(`a forgotten version, ${how}, is a new list, not older than what was seen`, async (t) => {
    const { api, problems, start } = await clusterFor(t);
    api.create('a');
    api.create('b');
    const source = await start();
    await isWatching(api);
    const { version } = api;
    await api.stop();
    api.delete('a');
    expire(api);
    await api.start();
    await becomes(source, pod('a'), 'deleted');
    t.equal(source.phaseOf(pod('b')), 'present');
    t.strictSame(
      api.requestsOf('list').map(({ parameters }) => parameters.get('resourceVersion')),
      ['0', String(version)],
    );
    t.equal(api.requestsOf('list').at(1)?.parameters.get('resourceVersionMatch'), 'NotOlderThan');
    t.notMatch(problems.join(), /too old/, 'nobody needs to hear of it');
  });
}

t.test('a watch that is silent is given up, and goes on', async (t) => {
  const { api, start } = await clusterFor(t);
  const source = await start({ silenceMs: 100 });
  await until('a second watch', () => api.requestsOf('watch').length >= 2);
  api.create('a');
  await becomes(source, pod('a'), 'present');
  t.equal(api.requestsOf('list').length, 1);
});

t.test('a server that does not answer is given up, and its last view stays', async (t) => {
  const { api, problems, start } = await clusterFor(t);
  api.create('a');
  const source = await start({ answerMs: 100 });
  await isWatching(api);
  api.answerNext('watch', () => undefined);
  api.answerNext('watch', () => undefined);
  api.cutWatches();
  await wasTold(problems, /no answer within/);
  t.equal(source.phaseOf(pod('a')), 'present');
  await until('it to be well again', () => source.status().problem === undefined);
});

t.test('while the server is away everything stays as it was, and grows old', async (t) => {
  const { api, problems, start } = await clusterFor(t);
  api.create('a');
  api.create('gone');
  const source = await start();
  await isWatching(api);
  api.delete('gone');
  await becomes(source, pod('gone'), 'deleted');
  await api.stop();
  await wasTold(problems, /cannot be reached: .*ECONNREFUSED/);
  t.match(source.status().problem, /cannot be reached/);
  const { ageMs } = source.status();
  await until('it to grow older', () => source.status().ageMs > ageMs);
  t.equal(source.phaseOf(pod('a')), 'present');
  t.equal(source.phaseOf(pod('gone')), 'deleted');
  t.equal(source.phaseOf(pod('new')), 'unknown');
  api.create('new');
  await api.start();
  await becomes(source, pod('new'), 'present');
  t.equal(source.status().problem, undefined);
});

t.test('it starts while the server is away, and knows nothing until it comes', async (t) => {
  const { api, start } = await clusterFor(t);
  api.create('a');
  await api.stop();
  const source = await start();
  t.match(source.status(), { name: 'API server (node node-1)', problem: /cannot be reached/ });
  t.equal(source.phaseOf(pod('a')), 'unknown');
  await api.start();
  await becomes(source, pod('a'), 'present');
});

t.test('refusals are problems that say what to do, and are tried again', async (t) => {
  const { api, problems, start } = await clusterFor(t);
  const source = await start();
  await isWatching(api);
  const refuse = async (code: number, reason: string, message: string, details?: object): Promise<void> => {
    for (let time = 0; time < 3; time += 1) api.answerNext('watch', refusal(code, reason, message, details));
    api.cutWatches();
  };
  await refuse(403, 'Forbidden', 'pods is forbidden: User "x" cannot watch resource');
  await wasTold(problems, /answers 403: pods is forbidden.*docs\/podsource\.md/);
  await isWatching(api);
  await refuse(401, 'Unauthorized', 'Unauthorized');
  await wasTold(problems, /answers 401: Unauthorized \(the credentials are not accepted\)/);
  await isWatching(api);
  await refuse(429, 'TooManyRequests', 'too many', { retryAfterSeconds: 0 });
  await wasTold(problems, /429/);
  await isWatching(api);
  await refuse(503, 'ServiceUnavailable', 'etcd\u001b[2J is\naway');
  await wasTold(problems, /503: etcd \[2J is away/);
  api.create('a');
  await becomes(source, pod('a'), 'present');
  t.equal(source.status().problem, undefined);
});

t.test('an event that is too long or cannot be read is looked up in a list', async (t) => {
  const { api, start } = await clusterFor(t);
  const source = await start();
  await isWatching(api);
  api.write(`{"type":"ADDED","object":"${'x'.repeat(9 * 1024 * 1024)}"}\n`);
  await until('a list in pages', () => api.requestsOf('list').at(-1)?.parameters.get('limit') === '100');
  await isWatching(api);
  api.write('{"type":"ADDED","object":{"secret":"hunter2"}}\n');
  await until('a third list', () => api.requestsOf('list').length === 3);
  api.create('a');
  await becomes(source, pod('a'), 'present');
  await isWatching(api);
  api.write('{"type":"hunter2\n');
  await until('a fourth list', () => api.requestsOf('list').length === 4);
  t.notMatch(source.status().problem ?? '', /hunter2/);
});

t.test('a list with more than one page is read to its end', async (t) => {
  const { api, start } = await clusterFor(t);
  for (let index = 0; index < 250; index += 1) api.create(`pod-${index}`);
  api.answerNext('list', refusal(504, 'Timeout', 'Too large resource version: 9, current: 1'));
  const source = await start();
  await becomes(source, pod('pod-249'), 'present');
  t.strictSame(
    api.requestsOf('list').map(({ parameters }) => parameters.get('limit')),
    [null, '100', '100', '100'],
  );
  t.equal(source.phaseOf(pod('pod-0')), 'present');
});

t.test('a list that is too long at once is read in pages', async (t) => {
  const { api, problems, start } = await clusterFor(t);
  api.create('a');
  api.answerNext('list', (response) => {
    response.on('error', () => undefined);
    response.end(Buffer.alloc(33 * 1024 * 1024, ' '));
  });
  const source = await start();
  await becomes(source, pod('a'), 'present');
  t.match(problems.join(), /more than \d+ bytes/);
  t.equal(api.requestsOf('list').at(-1)?.parameters.get('limit'), '100');
});

t.test('a list from a lagging memory deletes nothing', async (t) => {
  const { api, start } = await clusterFor(t);
  api.create('a');
  api.staleVersion = api.version;
  api.create('b');
  const source = await start();
  await becomes(source, pod('b'), 'present');
  t.equal(source.phaseOf(pod('a')), 'present');
});

t.test('a server that was restored from an older backup deletes nothing', async (t) => {
  const { api, problems, start } = await clusterFor(t);
  api.create('old');
  const backup = api.version;
  api.create('lost');
  const source = await start();
  t.equal(source.phaseOf(pod('lost')), 'present');
  await isWatching(api);
  await api.stop();
  api.restore(backup);
  await api.start();
  await isWatching(api);
  api.bookmark();
  await becomes(source, pod('lost'), 'unknown');
  t.equal(source.phaseOf(pod('old')), 'present');
  t.match(problems.join('\n'), /gone back to an older state/);
  await isWatching(api);
  api.delete('old');
  await becomes(source, pod('old'), 'deleted');
  t.equal(source.phaseOf(pod('lost')), 'unknown');
});

t.test('a kubeconfig that leads to another cluster deletes nothing', async (t) => {
  const { api, kubeconfig, start } = await clusterFor(t);
  const other = (await clusterFor(t)).api;
  api.create('here');
  api.create('twin', { uid: 'twin here' });
  other.restore(5000);
  other.create('there');
  const source = await start();
  await isWatching(api);
  const { authority } = await certificates;
  await writeFile(kubeconfig, kubeconfigFor(other.url, authority.ca));
  other.create('twin', { uid: 'twin there' });
  api.endWatches();
  await becomes(source, pod('there'), 'present');
  t.equal(source.phaseOf(pod('here')), 'unknown');
  t.equal(source.phaseOf(pod('twin', 'twin here')), 'unknown');
  t.equal(other.requests[0]?.kind, 'list');
  t.equal(other.requests[0]?.parameters.get('resourceVersion'), '0');
});

t.test('an answer that is no list of pods deletes nothing', async (t) => {
  const { api, start } = await clusterFor(t);
  api.create('a');
  const source = await start();
  await isWatching(api);
  for (const text of ['{}', '{"kind":"PodList","metadata":{"resourceVersion":"999"},"items":{}}', 'hunter2 <html>']) {
    api.answerNext('list', (response) => response.end(text));
  }
  api.compact();
  api.create('b');
  api.compact();
  await api.stop();
  api.create('c');
  api.compact();
  await api.start();
  await becomes(source, pod('c'), 'present');
  t.equal(source.phaseOf(pod('a')), 'present');
  t.equal(api.requestsOf('list').length, 5);
});

t.test('closing ends the watch', async (t) => {
  const { api, start } = await clusterFor(t);
  const source = await start();
  await isWatching(api);
  source.close();
  await until('no watch', () => api.openWatches === 0);
  api.create('a');
  t.equal(source.phaseOf(pod('a')), 'unknown');
});
