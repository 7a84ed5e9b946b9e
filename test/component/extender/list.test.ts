// The list of a whole cluster's pods: as many pages as it takes.
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { listObjects } from '../../../agent/cluster/api-objects.ts';
import { CLUSTER_PODS } from '../../../extender/discovery/cluster-pod.ts';
import { FakeApiServer, type Responder } from '../../support/fake-api-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const page =
  (token: string): Responder =>
  (response) =>
    response.end(JSON.stringify({ kind: 'PodList', metadata: { resourceVersion: '5', continue: token }, items: [] }));

t.test('a list may have more than a thousand pages, but not more than items', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-extender-lists-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const authority = await makeAuthority(folder);
  const { ca } = authority;
  const api = new FakeApiServer(await authority.issue('api server', 'IP:127.0.0.1'), ca);
  await api.start();
  t.teardown(() => api.stop());
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const access = { server: api.url, origin: api.url, options: { ca, agent }, headers: {}, close: () => undefined };
  const limits = { answerMs: 60_000, idleMs: 60_000, totalMs: 60_000 };
  const request = { access, limits, signal: new AbortController().signal };
  const list = (items: number) =>
    listObjects(request, CLUSTER_PODS, 'storage', { items, unreadable: 1, characters: 1e9, totalMs: 600_000 });

  for (let index = 0; index < 1100; index += 1) api.answerNext('list', page('0 0'));
  api.create('pod');
  api.answerNext('list', page(''));
  t.equal((await list(10_000)).complete, true);
  for (let index = 0; index < 50; index += 1) api.answerNext('list', page('0 0'));
  await t.rejects(list(40), { message: /over 40 pods/ }, 'a server that makes up its tokens');
});
