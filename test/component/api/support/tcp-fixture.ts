// An endpoint over TCP with certificates of its own, and what tests ask it.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { create } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import type { Test } from 'tap';
import { implement } from '../../../../agent/api/grpc-server.ts';
import { HealthState, healthHandlers } from '../../../../agent/api/health.ts';
import { TcpEndpoint, type TcpEndpointOptions } from '../../../../agent/api/tcp-endpoint.ts';
import { pollUntil } from '../../../../agent/cli/quickstart/poll.ts';
import { agentConfigSchema } from '../../../../agent/config/schema.ts';
import { createLogger } from '../../../../agent/log.ts';
import { callUnary, connectTcp } from '../../../../lib/grpc-client.ts';
import { Health, HealthCheckRequestSchema } from '../../../../proto/gen/wire/grpc/health/v1/health_pb.ts';
import { type KeyPair, makeAuthority, type TestAuthority } from '../../../support/test-certificates.ts';

export const request = create(HealthCheckRequestSchema, { service: '' });
export const PATIENCE_MS = 60_000;

export type EndpointOptions = Partial<Pick<TcpEndpointOptions, 'limits' | 'read'>>;

export interface Fixture {
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

/** A folder for the test. */
export async function makeFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tcp-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

/** An endpoint that is not open yet. */
export function makeEndpoint(t: Test, config: unknown, options: EndpointOptions = {}) {
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
    ...options,
  });
  t.teardown(async () => {
    shutdown.abort();
    await endpoint.close(0);
  });
  return { endpoint, logs, metrics, services: [implement(Health, healthHandlers(health))] };
}

/**
 * Serves health with mutual TLS.
 * @param days - that the server's certificate is valid from now on; negative for one that has expired
 */
export async function serve(t: Test, options: EndpointOptions = {}, days?: number): Promise<Fixture> {
  const folder = await makeFolder(t);
  const authority = await makeAuthority(folder);
  const paths = { cert: join(folder, 's.crt'), key: join(folder, 's.key'), ca: join(folder, 's.ca') };
  const write: Fixture['write'] = async (files) => {
    for (const [name, text] of Object.entries(files)) {
      await writeFile(paths[name as keyof typeof paths], text, { mode: 0o600 });
    }
  };
  await write({ ...(await authority.issue('server', 'IP:127.0.0.1,DNS:node-1', days)), ca: authority.ca });
  const { endpoint, logs, metrics, services } = makeEndpoint(
    t,
    {
      address: '127.0.0.1:0',
      tls: { certificate: paths.cert, key: paths.key, clientCa: paths.ca },
    },
    options,
  );
  await endpoint.open(services);
  const client = await authority.issue('scheduler');
  return { endpoint, authority, folder, client, logs, metrics, write, port: endpoint.address?.port ?? 0 };
}

/** What a client connects with. */
export const pem = (ca: string, { cert, key }: KeyPair, serverName?: string) => ({
  ca: Buffer.from(ca),
  cert: Buffer.from(cert),
  key: Buffer.from(key),
  ...(serverName === undefined ? {} : { serverName }),
});

/** A client of mutual TLS, closed at the end of the test. */
export function connect(t: Test, port: number, ca: string, pair: KeyPair): Client {
  const client = connectTcp(`127.0.0.1:${port}`, pem(ca, pair));
  t.teardown(() => client.close());
  return client;
}

/** Asks whether it serves. */
export const check = (client: Client) => callUnary(client, Health.method.check, request, { timeoutMs: PATIENCE_MS });

/** How many connections were refused for that reason. */
export async function refusals(metrics: Registry, why: string): Promise<number> {
  const metric = await metrics.getSingleMetric('holdfast_topology_api_refused_total')?.get();
  return metric?.values.find(({ labels }) => labels['why'] === why)?.value ?? 0;
}

/** What the server shows of itself. */
export async function servedCertificate(port: number, { cert, key }: KeyPair, ca: string): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', ca, cert, key, ALPNProtocols: ['h2'] });
  try {
    await once(socket, 'secureConnect');
    return String(socket.getPeerCertificate().subject.CN);
  } finally {
    socket.destroy();
  }
}

/** Its lines of `holdfast status`. */
export const texts = ({ endpoint }: Pick<Fixture, 'endpoint'>): readonly string[] =>
  endpoint.status().map(({ level, text }) => `${level}: ${text}`);

/** Resolves when so many connections are open. */
export async function untilConnections(endpoint: TcpEndpoint, count: number): Promise<void> {
  await pollUntil(`${count} connections`, PATIENCE_MS, async () =>
    texts({ endpoint }).join('').includes(` ${count} connections`) ? true : undefined,
  );
}
