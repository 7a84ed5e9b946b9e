// The read-only services over TCP: who is let in, certificates that change under a running server, and clients that only
// take up room.
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import v8 from 'node:v8';
import vm from 'node:vm';
import { create } from '@bufbuild/protobuf';
import { type Client, status } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import t, { type Test } from 'tap';
import { implement } from '../../../agent/api/grpc-server.ts';
import { HealthState, healthHandlers } from '../../../agent/api/health.ts';
import { TcpEndpoint } from '../../../agent/api/tcp-endpoint.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { agentConfigSchema } from '../../../agent/config/schema.ts';
import { createLogger } from '../../../agent/log.ts';
import { callServerStream, callUnary, connectTcp, isServiceError } from '../../../lib/grpc-client.ts';
import { Health, HealthCheckRequestSchema } from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import { type KeyPair, makeAuthority, type TestAuthority } from '../../support/test-certificates.ts';

const request = create(HealthCheckRequestSchema, { service: '' });
const PATIENCE_MS = 60_000;

interface Fixture {
  readonly endpoint: TcpEndpoint;
  readonly authority: TestAuthority;
  readonly folder: string;
  readonly client: KeyPair;
  readonly logs: string[];
  readonly metrics: Registry;
  readonly port: number;
  /** Replaces files of the server. */
  readonly write: (files: { readonly cert?: string; readonly key?: string; readonly ca?: string }) => Promise<void>;
}

async function makeFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tcp-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

function makeEndpoint(t: Test, config: unknown) {
  const logs: string[] = [];
  const metrics = new Registry();
  const shutdown = new AbortController();
  const health = new HealthState([]);
  health.set(true);
  const endpoint = new TcpEndpoint({
    config: agentConfigSchema.shape.topologyApi.parse(config),
    logger: createLogger('info', { write: (line) => void logs.push(line) }),
    metrics,
    onFinished: () => {},
    signal: shutdown.signal,
  });
  t.teardown(async () => {
    shutdown.abort();
    await endpoint.close(0);
  });
  return { endpoint, logs, metrics, services: [implement(Health, healthHandlers(health))] };
}

async function serve(t: Test): Promise<Fixture> {
  const folder = await makeFolder(t);
  const authority = await makeAuthority(folder);
  const paths = { cert: join(folder, 's.crt'), key: join(folder, 's.key'), ca: join(folder, 's.ca') };
  const write: Fixture['write'] = async (files) => {
    for (const [name, text] of Object.entries(files)) {
      await writeFile(paths[name as keyof typeof paths], text, { mode: 0o600 });
    }
  };
  await write({ ...(await authority.issue('server', 'IP:127.0.0.1,DNS:node-1')), ca: authority.ca });
  const { endpoint, logs, metrics, services } = makeEndpoint(t, {
    address: '127.0.0.1:0',
    tls: { certificate: paths.cert, key: paths.key, clientCa: paths.ca },
  });
  await endpoint.open(services);
  const client = await authority.issue('scheduler');
  return { endpoint, authority, folder, client, logs, metrics, write, port: endpoint.address?.port ?? 0 };
}

const pem = (ca: string, { cert, key }: KeyPair, serverName?: string) => ({
  ca: Buffer.from(ca),
  cert: Buffer.from(cert),
  key: Buffer.from(key),
  ...(serverName === undefined ? {} : { serverName }),
});

function connect(t: Test, port: number, ca: string, pair: KeyPair): Client {
  const client = connectTcp(`127.0.0.1:${port}`, pem(ca, pair));
  t.teardown(() => client.close());
  return client;
}

const check = (client: Client) => callUnary(client, Health.method.check, request, { timeoutMs: PATIENCE_MS });

async function refusals(metrics: Registry, why: string): Promise<number> {
  const metric = await metrics.getSingleMetric('holdfast_topology_api_refused_total')?.get();
  return metric?.values.find(({ labels }) => labels['why'] === why)?.value ?? 0;
}

/** What the server shows of itself. */
async function servedCertificate(port: number, { cert, key }: KeyPair, ca: string): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', ca, cert, key, ALPNProtocols: ['h2'] });
  try {
    await once(socket, 'secureConnect');
    return String(socket.getPeerCertificate().subject.CN);
  } finally {
    socket.destroy();
  }
}

const texts = ({ endpoint }: Pick<Fixture, 'endpoint'>): readonly string[] =>
  endpoint.status().map(({ level, text }) => `${level}: ${text}`);

await t.test('only clients with a valid certificate of the authority are let in', async (t) => {
  const { authority, port, client, metrics, endpoint } = await serve(t);
  t.match(await check(connect(t, port, authority.ca, client)), { status: 1 });
  t.match(texts({ endpoint }), [
    /^ok: 127\.0\.0\.1 port \d+, mutual TLS as CN=server, 1 connections; certificate valid until/,
  ]);

  const named = connectTcp(`127.0.0.1:${port}`, pem(authority.ca, client, 'node-1'));
  t.teardown(() => named.close());
  t.match(await check(named), { status: 1 }, 'the server proves to be the name that is asked for');
  const misnamed = connectTcp(`127.0.0.1:${port}`, pem(authority.ca, client, 'node-2'));
  t.teardown(() => misnamed.close());
  t.ok(isServiceError(await check(misnamed).catch((caught: unknown) => caught), status.UNAVAILABLE), 'and no other');

  const stranger = await (await makeAuthority(await makeFolder(t))).issue('scheduler');
  const expired = await authority.issue('scheduler', undefined, -1);
  for (const [what, pair] of Object.entries({ stranger, expired })) {
    const before = await refusals(metrics, 'handshake');
    const error = await check(connect(t, port, authority.ca, pair)).catch((caught: unknown) => caught);
    t.ok(isServiceError(error, status.UNAVAILABLE), what);
    t.ok((await refusals(metrics, 'handshake')) > before, `${what} is counted`);
  }
  const without = tls.connect({ port, host: '127.0.0.1', ca: authority.ca, ALPNProtocols: ['h2'] });
  without.on('error', () => {});
  without.resume();
  await new Promise((resolve) => without.once('close', resolve));
  const plain = connectTcp(`127.0.0.1:${port}`, undefined);
  t.teardown(() => plain.close());
  t.ok(isServiceError(await check(plain).catch((caught: unknown) => caught), status.UNAVAILABLE), 'without TLS');
  t.ok((await refusals(metrics, 'handshake')) >= 4);
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  await t.test(`a session of ${version} is not resumed: every connection shows its certificate`, async (t) => {
    const { authority, port, client } = await serve(t);
    const options = {
      port,
      host: '127.0.0.1',
      ca: authority.ca,
      ...client,
      ALPNProtocols: ['h2'],
      maxVersion: version,
    };
    const sessions: Buffer[] = [];
    const first = tls.connect(options);
    first.on('session', (told: Buffer) => void sessions.push(told));
    // The first bytes of HTTP/2 come after whatever could be used to resume.
    await once(first, 'data');
    const session = sessions.at(-1) ?? first.getSession();
    first.destroy();
    const second = tls.connect({ ...options, ...(session === undefined ? {} : { session }) });
    await once(second, 'secureConnect');
    t.equal(second.isSessionReused(), false);
    second.destroy();
  });
}

await t.test('certificates that changed are used for new connections, and nothing ends for it', async (t) => {
  const { endpoint, authority, port, client, write, logs } = await serve(t);
  const old = connect(t, port, authority.ca, client);
  const watch = callServerStream(old, Health.method.watch, request, { timeoutMs: PATIENCE_MS });
  t.match((await watch.next()).value, { status: 1 });
  await write(await authority.issue('server-2', 'IP:127.0.0.1'));
  await endpoint.refresh();
  t.equal(await servedCertificate(port, client, authority.ca), 'server-2');
  t.match(await check(old), { status: 1 }, 'the former connection goes on');
  t.match(logs.join(''), /certificates replaced/);
  await watch.return();

  const other = await makeAuthority(await makeFolder(t));
  await write({ ca: other.ca });
  await endpoint.refresh();
  const refused = await check(connect(t, port, authority.ca, client)).catch((caught: unknown) => caught);
  t.ok(isServiceError(refused, status.UNAVAILABLE), 'a client of the former authority');
  t.match(await check(connect(t, port, authority.ca, await other.issue('scheduler'))), { status: 1 });
});

await t.test('certificates that cannot be used leave the former ones in force, and are told of', async (t) => {
  const { endpoint, authority, port, client, write, logs, metrics } = await serve(t);
  const next = await authority.issue('server-2', 'IP:127.0.0.1');
  const stages = [
    [{ cert: next.cert }, /the key .* does not fit the certificate/],
    [{ cert: next.cert.slice(0, 300), key: next.key }, /ends within a certificate/],
    [{ cert: '' }, /has no certificate in PEM form/],
    [{ cert: next.cert, key: next.key.slice(0, 60) }, /has no private key/],
    [{ key: next.key, ca: `${authority.ca}-----BEGIN CERTIFICATE-----\nMIIB` }, /ends within a certificate/],
  ] as const;
  for (const [files, problem] of stages) {
    await write(files);
    await endpoint.refresh();
    t.equal(await servedCertificate(port, client, authority.ca), 'server', String(problem));
    t.match(texts({ endpoint }).join('\n'), problem);
    t.match(texts({ endpoint }).join('\n'), /the former certificates are in use/);
    t.match(logs.join(''), problem);
  }
  t.notMatch(logs.join(''), /PRIVATE KEY/);
  const told = logs.length;
  await endpoint.refresh();
  t.equal(logs.length, told, 'told once');
  await write({ ca: authority.ca });
  await endpoint.refresh();
  t.equal(await servedCertificate(port, client, authority.ca), 'server-2');
  t.equal(texts({ endpoint }).length, 1);
  const reloads = await metrics.getSingleMetric('holdfast_topology_api_certificate_reloads_total')?.get();
  t.match(reloads?.values, [
    { labels: { result: 'failed' }, value: 5 },
    { labels: { result: 'ok' }, value: 1 },
  ]);
});

await t.test('an expired certificate and a key that others can read are warned of', async (t) => {
  const { endpoint, authority, write, folder, metrics } = await serve(t);
  await write(await authority.issue('server', 'IP:127.0.0.1', -1));
  await chmod(join(folder, 's.key'), 0o644);
  await endpoint.refresh();
  t.match(texts({ endpoint }), [
    /^warning: .*expired at .*: clients refuse it/,
    /^warning: the key .* can be read by others \(mode 0644\)/,
  ]);
  const expiry = await metrics.getSingleMetric('holdfast_topology_api_certificate_expiry_seconds')?.get();
  t.ok((expiry?.values[0]?.value ?? 0) < Date.now() / 1000);
});

await t.test('without certificates only this host is served', async (t) => {
  const here = makeEndpoint(t, { address: '127.0.0.1:0' });
  await here.endpoint.open(here.services);
  const client = connectTcp(`127.0.0.1:${here.endpoint.address?.port}`, undefined);
  t.teardown(() => client.close());
  t.match(await check(client), { status: 1 });
  t.match(texts(here), [/^ok: .* without TLS, for this host alone/]);

  const everywhere = makeEndpoint(t, { address: '0.0.0.0:0' });
  await everywhere.endpoint.open(everywhere.services);
  t.equal(everywhere.endpoint.address, undefined);
  t.match(texts(everywhere), [
    /^failed: not served over TCP: topologyApi\.address is 0\.0\.0\.0, which other hosts can reach/,
  ]);

  const off = makeEndpoint(t, {});
  await off.endpoint.open(off.services);
  t.equal(off.endpoint.address, undefined);
  t.strictSame(texts(off), []);
});

await t.test('a port that is taken, and certificates that come later, are waited for', async (t) => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const address = holder.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const late = makeEndpoint(t, { address: `127.0.0.1:${port}` });
  await late.endpoint.open(late.services);
  t.match(texts(late), [/^failed: not served over TCP: 127\.0\.0\.1 port \d+ is taken/]);
  await new Promise((resolve) => holder.close(resolve));
  await late.endpoint.refresh();
  t.equal(late.endpoint.address?.port, port);
});

await t.test('connections that never finish their handshake do not keep others out', async (t) => {
  const { endpoint, authority, port, client, metrics } = await serve(t);
  const idle = Array.from({ length: 100 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
  t.teardown(() => {
    for (const socket of idle) socket.destroy();
  });
  await Promise.all(idle.map((socket) => once(socket, 'connect')));
  await pollUntil('the oldest to be dropped', PATIENCE_MS, async () =>
    (await refusals(metrics, 'limit')) >= 36 ? true : undefined,
  );
  t.match(await check(connect(t, port, authority.ca, client)), { status: 1 });
  for (const socket of idle) socket.destroy();
  await pollUntil('them to be forgotten', PATIENCE_MS, async () =>
    / 1 connections/.test(texts({ endpoint }).join('')) ? true : undefined,
  );
});

/** Connects in one of the ways in which a client can begin, and is gone. */
async function connectAndDrop(kind: number, port: number, ca: string, pair: KeyPair): Promise<void> {
  const options = { port, host: '127.0.0.1', ca, ALPNProtocols: ['h2'], ...(kind === 1 ? {} : pair) };
  const socket = kind === 0 ? net.connect(port, '127.0.0.1') : tls.connect(options);
  // Its end may be the server's doing or its own.
  socket.on('error', () => {});
  await new Promise((resolve) => {
    for (const event of ['connect', 'secureConnect', 'close']) {
      if (event !== 'connect' || kind === 0) socket.once(event, resolve);
    }
  });
  if (kind === 2) socket.write('this is not HTTP/2');
  if (kind === 3) {
    const session = http2.connect('https://localhost', { createConnection: () => socket });
    session.on('error', () => {});
    const headers = { ':method': 'POST', ':path': '/grpc.health.v1.Health/Watch', 'content-type': 'application/grpc' };
    const stream = session.request({ ...headers, te: 'trailers' });
    stream.on('error', () => {});
    stream.end(Buffer.alloc(5));
    await new Promise((resolve) => {
      for (const event of ['data', 'close']) stream.once(event, resolve);
    });
    session.destroy();
  }
  socket.destroy();
}

v8.setFlagsFromString('--expose-gc');
const collectGarbage: () => void = vm.runInNewContext('gc');

await t.test('connections that come and go leave nothing behind', async (t) => {
  const { endpoint, authority, port, client } = await serve(t);
  const round = async (): Promise<number> => {
    for (let batch = 0; batch < 40; batch += 1) {
      await Promise.all([0, 1, 2, 3].map((kind) => connectAndDrop(kind, port, authority.ca, client)));
    }
    await pollUntil('them to be forgotten', PATIENCE_MS, async () =>
      / 0 connections/.test(texts({ endpoint }).join('')) ? true : undefined,
    );
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  // The first fills caches and compiles.
  await round();
  const before = await round();
  const grown = (await round()) - before;
  // 160 connections: one that were kept, with its TLS state, would be 30 KiB or more.
  t.ok(grown < 2 * 1024 * 1024, `${grown} bytes more than after as many before`);
});
