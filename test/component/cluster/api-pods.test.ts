// Lists of an API server that sends more than anybody can take in.
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ListLimits } from '../../../agent/cluster/api-objects.ts';
import { LIST_LIMITS, listPods } from '../../../agent/cluster/api-pods.ts';
import { FakeApiServer, type Responder } from '../../support/fake-api-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const { signal } = new AbortController();

async function serverFor(t: Test) {
  const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-lists-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const authority = await makeAuthority(folder);
  const { ca } = authority;
  const api = new FakeApiServer(await authority.issue('api server', 'IP:127.0.0.1'), ca);
  await api.start();
  t.teardown(() => api.stop());
  const access = {
    server: api.url,
    origin: api.url,
    options: { ca, agent: false },
    headers: {},
    close: () => undefined,
  };
  const times = { answerMs: 60_000, idleMs: 60_000, totalMs: 60_000 };
  const list = (limits: Partial<ListLimits> = {}) =>
    listPods({ access, nodeName: 'n', limits: times, signal }, 'storage', { ...LIST_LIMITS, ...limits });
  return { api, list };
}

const answer =
  (items: unknown): Responder =>
  (response) =>
    response.end(JSON.stringify({ kind: 'PodList', metadata: { resourceVersion: '5' }, items }));

const tooLarge: Responder = (response) => {
  response.on('error', () => undefined);
  response.end(Buffer.alloc(33 * 1024 * 1024, ' '));
};

t.test('a page that is too large is asked for again with fewer pods', async (t) => {
  const { api, list } = await serverFor(t);
  for (let index = 0; index < 6; index += 1) api.create(`pod-${index}`);
  api.answerNext('list', tooLarge);
  api.answerNext('list', tooLarge);
  t.equal((await list()).pods.length, 6);
  t.strictSame(
    api.requests.map(({ parameters }) => [parameters.get('limit'), parameters.get('continue')?.split(' ')[0]]),
    [
      ['100', undefined],
      ['20', undefined],
      ['4', undefined],
      ['4', '4'],
    ],
  );
  for (let time = 0; time < 3; time += 1) api.answerNext('list', tooLarge);
  await t.rejects(list(), { message: /more than \d+ bytes/ });
});

t.test('a list with too many items is refused, also when they come page by page', async (t) => {
  const { api, list } = await serverFor(t);
  api.answerNext('list', answer(Array.from({ length: 20_001 }, () => 0)));
  await t.rejects(list(), { message: 'the API server names over 20000 pods' });
  for (let index = 0; index < 250; index += 1) api.create(`pod-${index}`);
  await t.rejects(list({ items: 249 }), { message: 'the API server names over 249 pods' });
  t.equal((await list({ items: 250 })).pods.length, 250);
});

t.test('a few items that cannot be read make a list incomplete; many are no list', async (t) => {
  const { api, list } = await serverFor(t);
  api.answerNext('list', answer(Array.from({ length: 100 }, () => 0)));
  t.match(await list(), { pods: [], complete: false });
  api.answerNext('list', answer(Array.from({ length: 101 }, () => 0)));
  await t.rejects(list(), { message: 'the API server names over 100 pods that cannot be read' });
});

t.test('what is kept of all pages together is bounded', async (t) => {
  const { api, list } = await serverFor(t);
  for (let index = 0; index < 250; index += 1) {
    api.create(`pod-${index}`, { annotations: { 'holdfast.dev/x': 'x'.repeat(1000) } });
  }
  const { pods } = await list({ characters: 120_000 });
  t.equal(pods.length, 250);
  const known = pods.filter(({ facts }) => facts !== undefined).length;
  t.ok(known > 0 && known < 120, `${known}`);
  api.answerNext(
    'list',
    answer([api.create('m', { annotations: { 'kubernetes.io/config.mirror': 'm'.repeat(254) } })]),
  );
  t.equal((await list()).pods[0]?.mirrors, undefined);
});

t.test('a list that does not end in time is given up', async (t) => {
  const { api, list } = await serverFor(t);
  for (let index = 0; index < 101; index += 1) api.create(`pod-${index}`);
  await t.rejects(list({ totalMs: 0 }), { code: 'DEADLINE' });
});

t.test('no items at all are an empty list', async (t) => {
  const { api, list } = await serverFor(t);
  api.answerNext('list', answer(null));
  t.match(await list(), { pods: [], resourceVersion: '5', complete: true });
  api.answerNext('list', answer({}));
  await t.rejects(list(), { code: 'UNAVAILABLE' });
});
