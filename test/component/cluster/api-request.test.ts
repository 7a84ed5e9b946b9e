// One request to the API server always ends: whatever a server or a proxy does not do.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ApiAccess, ApiCredentials } from '../../../agent/cluster/api-access.ts';
import { get, send } from '../../../agent/cluster/api-request.ts';
import { FakeApiServer, type Responder } from '../../support/fake-api-server.ts';
import { makeAuthority } from '../../support/test-certificates.ts';

const PATIENT = { answerMs: 60_000, idleMs: 60_000, totalMs: 60_000 };
const { signal } = new AbortController();

async function serverFor(t: Test): Promise<{ readonly api: FakeApiServer; readonly access: ApiAccess }> {
  const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-request-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const authority = await makeAuthority(folder);
  const { ca } = authority;
  const api = new FakeApiServer(await authority.issue('api server', 'IP:127.0.0.1'), ca);
  await api.start();
  t.teardown(() => api.stop());
  const access = { server: api.url, origin: api.url, options: { ca, agent: false }, headers: {} };
  return { api, access: { ...access, close: () => undefined } };
}

/** It accepts connections and says nothing. */
async function silentProxyFor(t: Test): Promise<{ readonly access: ApiAccess; readonly proxy: net.Server }> {
  const folder = await mkdtemp(join(os.tmpdir(), 'holdfast-request-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const proxy = net.createServer((socket) => {
    socket.on('error', () => undefined).resume();
    t.teardown(() => socket.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.teardown(() => proxy.close());
  const file = join(folder, 'kubeconfig');
  const cluster = {
    server: 'https://api.test',
    'proxy-url': `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
  };
  await writeFile(
    file,
    JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: {} }],
    }),
  );
  const access = await new ApiCredentials(async () => file).open(signal);
  t.teardown(() => access.close());
  return { access, proxy };
}

for (const [how, respond] of [
  [
    'switches to another protocol',
    (response) =>
      response.socket?.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
  ],
  ['closes the connection', (response) => response.destroy()],
] as const satisfies readonly (readonly [string, Responder])[]) {
  t.test(`a server that ${how} has not answered`, async (t) => {
    const { api, access } = await serverFor(t);
    api.answerNext('list', respond);
    await t.rejects(get(access, '/', PATIENT, signal), { code: 'UNAVAILABLE' });
  });
}

t.test('what is asked for with a deletion reaches the server', async (t) => {
  const { api, access } = await serverFor(t);
  const pod = api.create('web', { uid: 'new' });
  const path = '/api/v1/namespaces/default/pods/web';
  const text = JSON.stringify({ preconditions: { uid: 'old' } });
  const request = { method: 'DELETE', path, body: { type: 'application/json', text } } as const;
  await t.rejects(send(access, request, PATIENT, signal), { message: /answers 409/ });
  t.same(api.pods(), [pod]);
});

t.test('a proxy that never answers is given up', async (t) => {
  const { access } = await silentProxyFor(t);
  await t.rejects(get(access, '/', { ...PATIENT, answerMs: 100 }, signal), { code: 'DEADLINE' });
  t.ok(access.options.timeout, 'the connection to the proxy ends by itself, too');
});

t.test('a request that waits for a proxy ends when it is aborted', async (t) => {
  const { access, proxy } = await silentProxyFor(t);
  const ending = new AbortController();
  const connected = once(proxy, 'connection');
  const answer = get(access, '/', PATIENT, ending.signal);
  await connected;
  ending.abort(new Error('enough'));
  await t.rejects(answer, { message: 'enough' });
  await t.rejects(get(access, '/', PATIENT, ending.signal), { message: 'enough' });
});
