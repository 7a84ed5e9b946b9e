// Ending a pod at an API server, over real HTTPS: whose pod it is, and what each answer means.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ApiCredentials } from '../../../agent/cluster/api-access.ts';
import { END_LIMITS, type EndPodBy, NO_ROOM_REASON, openPodEnder } from '../../../agent/cluster/end-pod.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { FakeApiServer, refusal } from '../../support/fake-api-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const { signal } = new AbortController();
const BOTH = ['fail', 'delete'] as const;
/** What a busy machine needs; only servers that never answer are waited for in vain. */
const PATIENT = { answerMs: 60_000, idleMs: 60_000, totalMs: 60_000 };

const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-end-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const { ca, identity } = await makeAuthority(folder).then(async (authority) => ({
  ca: authority.ca,
  identity: await authority.issue('api server', 'IP:127.0.0.1'),
}));

async function build(t: Test, by: EndPodBy, limits = PATIENT) {
  const api = new FakeApiServer(identity, ca);
  await api.start();
  t.teardown(() => api.stop());
  const file = join(await mkdtemp(join(folder, 'k-')), 'kubeconfig');
  const cluster = { server: api.url, 'certificate-authority-data': Buffer.from(ca).toString('base64') };
  const kubeconfig = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: 'x' } }],
  };
  await writeFile(file, JSON.stringify(kubeconfig));
  const credentials = new ApiCredentials(async () => file);
  const ender = await openPodEnder(credentials, { by, limits }, signal);
  t.teardown(() => ender.close());
  const end = async (uid = 'uid-web', ending = signal) =>
    await ender.end({ uid: podUid(uid), namespace: 'default', name: 'web' }, 'no room: because', ending);
  return { api, credentials, end };
}

t.test('a pod is failed with the reason', async (t) => {
  const { api, end } = await build(t, 'fail');
  api.create('web');
  t.same(await end(), { kind: 'ended' });
  t.match(api.pods(), [
    { metadata: { name: 'web' }, status: { phase: 'Failed', reason: NO_ROOM_REASON, message: 'no room: because' } },
  ]);
});

t.test('a pod is deleted', async (t) => {
  const { api, end } = await build(t, 'delete');
  api.create('web');
  t.same(await end(), { kind: 'ended' });
  t.same(api.pods(), []);
});

for (const by of BOTH) {
  t.test(`${by}: another pod that got the name stays as it is`, async (t) => {
    const { api, end } = await build(t, by);
    const other = api.create('web', { uid: 'uid-of-another' });
    t.same(await end(), { kind: 'gone' });
    t.same(api.pods(), [other]);
  });

  t.test(`${by}: the mirror of a static pod stays as it is`, async (t) => {
    const { api, end } = await build(t, by);
    const mirror = api.create('web', { uid: 'mirror', annotations: { 'kubernetes.io/config.mirror': 'hash' } });
    t.same(await end('hash'), { kind: 'gone' });
    t.same(api.pods(), [mirror]);
  });

  t.test(`${by}: a pod that is no more is gone`, async (t) => {
    const { end } = await build(t, by);
    t.same(await end(), { kind: 'gone' });
  });

  t.test(`${by}: missing rights are named, with where to read about them`, async (t) => {
    const { api, end } = await build(t, by);
    api.answerNext('write', refusal(403, 'Forbidden', 'pods "web" is forbidden'));
    t.match(await end(), { kind: 'refused', httpCode: 403, why: /pods "web" is forbidden.*docs\/giving-up\.md/ });
  });

  t.test(`${by}: a policy that does not allow it is no pod that is gone`, async (t) => {
    const { api, end } = await build(t, by);
    api.answerNext('write', refusal(422, 'Invalid', 'Pod "metadata.uid" is invalid: spec.of.metadata.uid: Forbidden'));
    t.match(await end(), { kind: 'refused', httpCode: 422 });
  });

  for (const code of [401, 429, 500, 503]) {
    t.test(`${by}: a server that answers ${code} says nothing about the pod`, async (t) => {
      const { api, end } = await build(t, by);
      api.answerNext('write', refusal(code, 'Because', 'not now'));
      await t.rejects(end(), { message: new RegExp(`answers ${code}: not now`) });
    });
  }

  t.test(`${by}: a server that does not answer is given up`, async (t) => {
    const { api, end } = await build(t, by, { ...PATIENT, answerMs: 100 });
    api.answerNext('write', () => undefined);
    await t.rejects(end(), { code: 'DEADLINE' });
  });

  t.test(`${by}: an answer without end is not waited for`, async (t) => {
    const { api, end } = await build(t, by);
    api.answerNext('write', (response) => {
      response.writeHead(200);
      response.write('{');
    });
    t.same(await end(), { kind: 'ended' });
  });
}

t.test('others who write the status at the same time are no reason to take the pod for gone', async (t) => {
  const { api, end } = await build(t, 'fail');
  api.answerNext('write', refusal(409, 'Conflict', 'the object has been modified'));
  t.match(await end(), { kind: 'refused', httpCode: 409 });
});

t.test('several fields that cannot be: the UID is among them', async (t) => {
  const { api, end } = await build(t, 'fail');
  const message = 'Pod "web" is invalid: [metadata.uid: Invalid value: "x": field is immutable, spec: Forbidden]';
  api.answerNext('write', refusal(422, 'Invalid', message));
  t.same(await end(), { kind: 'gone' });
});

t.test('credentials that are not accepted are asked for anew', async (t) => {
  const { api, credentials, end } = await build(t, 'fail');
  let forgotten = 0;
  const forget = credentials.forget.bind(credentials);
  credentials.forget = () => {
    forgotten += 1;
    forget();
  };
  api.answerNext('write', refusal(401, 'Unauthorized', 'Unauthorized'));
  await t.rejects(end(), { message: /answers 401/ });
  t.equal(forgotten, 1);
});

t.test('the steps of a pod wait for less than the cri-shim does', async (t) => {
  const { PLANNING_MS } = await import('../../../cri-shim/steps/step.ts');
  const { answerMs, totalMs } = END_LIMITS;
  t.ok(answerMs + totalMs < PLANNING_MS);
});

t.test('an end of the agent ends the wait', async (t) => {
  const { api, end } = await build(t, 'delete');
  const ending = new AbortController();
  api.answerNext('write', () => ending.abort(new Error('enough')));
  await t.rejects(end('uid-web', ending.signal), { message: 'enough' });
});
