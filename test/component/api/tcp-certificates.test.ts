// Certificates of the TCP endpoint that change while it serves: good ones are used, and what is not leaves the former.
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { callServerStream, isServiceError } from '../../../lib/grpc-client.ts';
import { Health } from '../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import { makeAuthority } from '../../support/test-certificates.ts';
import {
  check,
  connect,
  type Fixture,
  makeFolder,
  PATIENCE_MS,
  request,
  serve,
  servedCertificate,
  texts,
} from './support/tcp-fixture.ts';

/** With a certificate that nobody would believe, from the start. */
const serveExpired = (t: Test): Promise<Fixture> => serve(t, {}, -1);

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

await t.test('an expired certificate does not take the place of a valid one', async (t) => {
  const { endpoint, authority, port, client, write, logs, metrics } = await serve(t);
  await write(await authority.issue('server-2', 'IP:127.0.0.1', -1));
  await endpoint.refresh();
  t.equal(await servedCertificate(port, client, authority.ca), 'server');
  t.match(texts({ endpoint }), [
    /^ok: .*mutual TLS as CN=server, .*valid until/,
    /^warning: the new certificate CN=server-2: expired at .*: clients refuse it; the former certificates are in use/,
  ]);
  t.match(logs.join(''), /the new certificate CN=server-2: expired/);
  const reloads = await metrics.getSingleMetric('holdfast_topology_api_certificate_reloads_total')?.get();
  t.match(reloads?.values, [{ labels: { result: 'failed' }, value: 1 }]);
  await write(await authority.issue('server-3', 'IP:127.0.0.1'));
  await endpoint.refresh();
  t.equal(await servedCertificate(port, client, authority.ca), 'server-3');
  t.equal(texts({ endpoint }).length, 1);
});

await t.test('an expired certificate is replaced by whatever comes', async (t) => {
  const { endpoint, authority, write } = await serveExpired(t);
  await write(await authority.issue('server-2', 'IP:127.0.0.1', -1));
  await endpoint.refresh();
  t.match(texts({ endpoint }), [/^warning: .*mutual TLS as CN=server-2, .*expired at/]);
  await write(await authority.issue('server-3', 'IP:127.0.0.1'));
  await endpoint.refresh();
  t.match(texts({ endpoint }), [/^ok: .*mutual TLS as CN=server-3/]);
});

await t.test('an expired certificate and a key that others can read are warned of', async (t) => {
  const { endpoint, write, folder, metrics } = await serveExpired(t);
  await chmod(join(folder, 's.key'), 0o644);
  await write({ ca: (await makeAuthority(await makeFolder(t))).ca });
  await endpoint.refresh();
  t.match(texts({ endpoint }), [
    /^warning: .*expired at .*: clients refuse it/,
    /^warning: the key .* can be read by others \(mode 0644\)/,
  ]);
  const expiry = await metrics.getSingleMetric('holdfast_topology_api_certificate_expiry_seconds')?.get();
  t.ok((expiry?.values[0]?.value ?? 0) < Date.now() / 1000);
});
