// The read-only services over TCP: who is let in, and a start that does not go as it should.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rm, truncate } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { type Certificates, readCertificates } from '../../../agent/api/certificates.ts';
import { connectTcp, isServiceError } from '../../../lib/grpc-client.ts';
import { makeAuthority } from '../../support/test-certificates.ts';
import { check, connect, makeEndpoint, makeFolder, pem, refusals, serve, texts } from './support/tcp-fixture.ts';

t.setTimeout(300_000);

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

await t.test('paths that are no files of certificates are told of, and nothing waits for them', async (t) => {
  const { endpoint, folder } = await serve(t);
  const path = join(folder, 's.crt');
  await truncate(path, 2 * 1024 * 1024);
  await endpoint.refresh();
  t.match(texts({ endpoint }).join(), /s\.crt has more than 1048576 bytes: it is no PEM file/);
  await rm(path);
  await promisify(execFile)('mkfifo', [path]);
  await endpoint.refresh();
  t.match(texts({ endpoint }).join(), /s\.crt is not a regular file; the former certificates are in use/);

  const tls = { certificate: '/dev/zero', key: join(folder, 's.key'), clientCa: join(folder, 's.ca') };
  const endless = makeEndpoint(t, { address: '127.0.0.1:0', tls });
  await endless.endpoint.open(endless.services);
  t.match(texts(endless), [/^failed: not served over TCP: \/dev\/zero is not a regular file; trying again/]);
});

await t.test(
  'a mount that hangs holds up neither the start nor the end, and is served from when it answers',
  async (t) => {
    const { folder, authority, client } = await serve(t);
    const [certificate, key, clientCa] = ['s.crt', 's.key', 's.ca'].map((name) => join(folder, name));
    const config = { address: '127.0.0.1:0', tls: { certificate, key, clientCa } };
    const never = makeEndpoint(t, config, { read: () => new Promise(() => {}) });
    await never.endpoint.open(never.services);
    t.match(texts(never), [/^failed: not served over TCP: the certificates are still being read/]);
    t.match(never.logs.join(''), /still being read/);
    await never.endpoint.close(0);

    let answer: (read: Promise<Certificates>) => void = () => {};
    const mount = new Promise<Certificates>((resolve) => {
      answer = resolve;
    });
    const late = makeEndpoint(t, config, { read: () => mount });
    await late.endpoint.open(late.services);
    t.equal(late.endpoint.address, undefined);
    answer(readCertificates(config.tls as Parameters<typeof readCertificates>[0]));
    await late.endpoint.refresh();
    t.match(texts(late), [/^ok: /]);
    t.match(await check(connect(t, late.endpoint.address?.port ?? 0, authority.ca, client)), { status: 1 });
  },
);

await t.test('certificates that are read after its end open nothing', async (t) => {
  const { folder } = await serve(t);
  const [certificate, key, clientCa] = ['s.crt', 's.key', 's.ca'].map((name) => join(folder, name));
  const tls = { certificate, key, clientCa };
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const { endpoint, services, logs } = makeEndpoint(
    t,
    { address: '127.0.0.1:0', tls },
    {
      read: async (paths) => {
        await asked;
        return await readCertificates(paths);
      },
    },
  );
  const opening = endpoint.open(services);
  await endpoint.close(0);
  answer();
  await opening;
  t.equal(endpoint.address, undefined);
  t.notMatch(logs.join(''), /topology api over TCP/);
});
