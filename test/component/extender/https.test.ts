// The extender's own side of TLS: who may call, certificates that are replaced while it serves, and requests within limits.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { BodyReader, BodyTooLarge } from '../../../extender/http/read-body.ts';
import { type HttpTimes, type HttpTls, serveHttp } from '../../../extender/http/server.ts';
import { type KeyPair, makeAuthority } from '../../support/test-certificates.ts';

const PATIENCE_MS = 60_000;
const LOCAL = 'IP:127.0.0.1';

async function folderWithAuthority(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-extender-https-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const authority = await makeAuthority(folder);
  const files = { certificateFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  const install = async ({ cert, key }: KeyPair): Promise<void> => {
    await writeFile(files.certificateFile, cert);
    await writeFile(files.keyFile, key);
  };
  return { folder, authority, files, install };
}

async function serve(
  t: Test,
  tls: HttpTls | undefined,
  handle: (body: http.IncomingMessage) => Promise<string>,
  times?: HttpTimes,
) {
  const problems: string[] = [];
  const server = await serveHttp({
    address: { host: '127.0.0.1', port: 0 },
    tls,
    handle: async (request, response) => void response.end(await handle(request)),
    onProblem: (problem) => problems.push(problem),
    rereadMs: 20,
    ...(times && { times }),
  });
  t.teardown(() => server.close());
  return { port: server.port, problems };
}

/** One call over a connection of its own. @returns the answer and the common name of the server's certificate */
async function call(port: number, options: https.RequestOptions): Promise<{ text: string; server: string }> {
  return await new Promise((resolve, reject) => {
    const request = https.get({ host: '127.0.0.1', port, path: '/', agent: false, ...options }, (response) => {
      const server = (response.socket as TLSSocket).getPeerCertificate().subject.CN;
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ text, server: String(server) }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

t.test('a certificate that is replaced is used for the next connection', async (t) => {
  const { authority, files, install } = await folderWithAuthority(t);
  await install(await authority.issue('first', LOCAL));
  const { port, problems } = await serve(t, files, async () => 'served');
  t.same(await call(port, { ca: authority.ca }), { text: 'served', server: 'first' });

  await writeFile(files.certificateFile, 'not a certificate');
  await pollUntil('the problem', PATIENCE_MS, async () => (problems.length > 0 ? true : undefined));
  t.equal((await call(port, { ca: authority.ca })).server, 'first', 'one that cannot be used replaces nothing');

  await install(await authority.issue('second', LOCAL));
  await pollUntil('the new certificate', PATIENCE_MS, async () => {
    return (await call(port, { ca: authority.ca })).server === 'second' ? true : undefined;
  });
});

t.test('with an authority for clients only its clients are served', async (t) => {
  const { folder, authority, files, install } = await folderWithAuthority(t);
  await install(await authority.issue('extender', LOCAL));
  const { port } = await serve(t, { ...files, clientCaFile: join(folder, 'ca.crt') }, async () => 'served');
  const strangers = await mkdtemp(join(tmpdir(), 'holdfast-extender-strangers-'));
  t.teardown(() => rm(strangers, { recursive: true }));
  const stranger = await makeAuthority(strangers);

  const { ca } = authority;
  t.equal((await call(port, { ca, ...(await authority.issue('scheduler')) })).text, 'served');
  await t.rejects(call(port, { ca }), 'without a certificate');
  await t.rejects(call(port, { ca, ...(await stranger.issue('scheduler')) }), 'of another authority');
  await t.rejects(call(port, { ca, ...(await authority.issue('scheduler', undefined, -1)) }), 'expired');
  await t.rejects(fetch(`http://127.0.0.1:${port}/`), 'without TLS');
});

t.test('files that cannot be used are named before anything is served', async (t) => {
  const { authority, files, install } = await folderWithAuthority(t);
  await t.rejects(
    serve(t, files, async () => ''),
    { code: 'INVALID_CONFIG', message: /listen\.tls/ },
  );
  await install({ cert: (await authority.issue('one')).cert, key: (await authority.issue('other')).key });
  await t.rejects(
    serve(t, files, async () => ''),
    { code: 'INVALID_CONFIG' },
    'the key is of another certificate',
  );
});

t.test('bodies have a limit each, and one together', async (t) => {
  const reader = new BodyReader(1000, 1500);
  const outcomes: string[] = [];
  const { port } = await serve(t, undefined, async (request) => {
    const outcome = await reader.read(request).then(
      (text) => `${text.length}`,
      (error: unknown) => (error instanceof BodyTooLarge ? 'too large' : (error as Error).message),
    );
    outcomes.push(outcome);
    return outcome;
  });
  const open = async (length: number): Promise<http.ClientRequest> => {
    const request = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false });
    request.write('x'.repeat(length));
    await once(request, 'socket');
    return request;
  };
  const answer = async (request: http.ClientRequest): Promise<string> => {
    const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
    request.end();
    const [response] = await answered;
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return text;
  };
  const settled = (count: number) =>
    pollUntil('the outcome', PATIENCE_MS, async () => (outcomes.length >= count ? true : undefined));

  t.equal(await answer(await open(1000)), '1000');
  t.equal(await answer(await open(1001)), 'too large');
  const first = await open(900);
  const second = await open(900);
  await settled(3);
  t.match(outcomes.at(-1), /too many large requests at a time/, 'two of 900 at a time');
  for (const request of [first, second]) request.on('error', () => undefined).destroy();
  await settled(4);
  t.match(outcomes.at(-1), /cut off/);
  t.equal(await answer(await open(1000)), '1000', 'what was cut off or refused counts no more');
});

/** Opens connections from this address on which nothing is said. */
async function openIdle(t: Test, port: number, from: string, count: number): Promise<readonly Socket[]> {
  const sockets = Array.from({ length: count }, () => connect({ port, host: '127.0.0.1', localAddress: from }));
  for (const socket of sockets) {
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
  }
  await Promise.all(sockets.filter((socket) => socket.connecting).map((socket) => once(socket, 'connect')));
  return sockets;
}

for (const encrypted of [false, true]) {
  t.test(`who connects${encrypted ? ' to TLS' : ''} and says nothing is let go of`, async (t) => {
    const { authority, files, install } = await folderWithAuthority(t);
    await install(await authority.issue('extender', LOCAL));
    // Whoever stays longer than that is let go of by its test's end only.
    const times = { requestMs: 600_000, headMs: 50, idleMs: 600_000, checkMs: 10 };
    const { port } = await serve(t, encrypted ? files : undefined, async () => 'served', times);
    const idle = await openIdle(t, port, '127.0.0.1', 20);
    await Promise.all(idle.filter((socket) => !socket.resume().closed).map((socket) => once(socket, 'close')));
    t.pass('all of them');
  });
}

t.test('connections of one address do not take the places of the others', async (t) => {
  const times = { requestMs: 600_000, headMs: 600_000, idleMs: 600_000, checkMs: 600_000 };
  const { port } = await serve(t, undefined, async () => 'served', times);
  await openIdle(t, port, '127.0.0.2', 300);
  const served = () =>
    new Promise<string>((resolve, reject) => {
      http
        .get({ port, host: '127.0.0.1', localAddress: '127.0.0.3', agent: false }, (response) => {
          response.resume().on('end', () => resolve('served'));
        })
        .on('error', reject);
    });
  t.equal(await served(), 'served');
});

t.test('a connection that served a request is kept for the next one', async (t) => {
  const times = { requestMs: 600_000, headMs: 30, idleMs: 600_000, checkMs: 10 };
  const { port } = await serve(t, undefined, async () => 'served', times);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const sockets = new Set<Socket>();
  const get = () =>
    new Promise<void>((resolve, reject) => {
      http
        .get({ port, host: '127.0.0.1', agent }, (response) => {
          sockets.add(response.socket);
          response.resume().on('end', resolve);
        })
        .on('error', reject);
    });
  await get();
  // One that came later and says nothing is let go of before it.
  const [later] = await openIdle(t, port, '127.0.0.1', 1);
  if (later?.resume().closed === false) await once(later, 'close');
  await get();
  t.equal(sockets.size, 1);
});
