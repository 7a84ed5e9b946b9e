// A cluster of etcd for a test: real members on loopback, with their data in a folder of the test.
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Test } from 'tap';
import type { Program } from '../../agent/cli/quickstart/program.ts';
import { EtcdConnection, type EtcdOptions } from '../../agent/cluster/etcd/connection.ts';
import { EtcdKeyValues } from '../../agent/cluster/etcd/key-values.ts';
import { LeaseApi } from '../../agent/cluster/etcd/lease-api.ts';
import { describeError } from '../../lib/errors.ts';
import type { ClientTls } from '../../lib/grpc-client.ts';
import { boundProgram, flags } from '../kube/cluster/flags.ts';
import { freePort } from '../kube/cluster/ports.ts';
import { makeMemoryFolder } from './memory-folder.ts';
import type { Teardown } from './teardown.ts';
import type { KeyPair } from './test-certificates.ts';

/** The reason to skip a test where there is no etcd. */
export const NEEDS_ETCD: string | false = (process.env['PATH'] ?? '')
  .split(delimiter)
  .some((folder) => existsSync(join(folder, 'etcd')))
  ? false
  : 'needs etcd (the Debian package etcd-server)';

export interface EtcdMember extends Program {
  /** For clients. */
  readonly url: string;
}

export interface EtcdCluster {
  readonly members: readonly EtcdMember[];
  readonly urls: readonly string[];
}

export interface EtcdClusterOptions {
  readonly members: number;
  /** Where clients reach them. Default: 127.0.0.1. */
  readonly address?: string;
  /** Of all members; clients must have a certificate of the authority, too. */
  readonly tls?: KeyPair & { readonly ca: string };
}

/** Debian's etcd asks for this on all but amd64. */
const UNSUPPORTED_ARCH = { arm64: 'arm64', arm: 'arm' } as Readonly<Record<string, string | undefined>>;

/** Starts the members and waits until all are healthy; they end with the test, or with its process. */
export async function startEtcd(
  t: Teardown,
  { members: count, address = '127.0.0.1', tls }: EtcdClusterOptions,
): Promise<EtcdCluster> {
  const folder = await makeMemoryFolder(t);
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key'), ca: join(folder, 'ca.crt') };
  if (tls !== undefined) for (const name of ['cert', 'key', 'ca'] as const) await writeFile(files[name], tls[name]);
  const certificates = {
    'cert-file': files.cert,
    'key-file': files.key,
    'trusted-ca-file': files.ca,
    'client-cert-auth': true,
  };
  const scheme = tls === undefined ? 'http' : 'https';
  const ports = [];
  for (let index = 0; index < count; index += 1) {
    ports.push({ client: await freePort(), peer: await freePort(), metrics: await freePort() });
  }
  const peerUrls = ports.map(({ peer }) => `http://127.0.0.1:${peer}`);
  const members = ports.map(({ client, metrics }, index): EtcdMember => {
    const url = `${scheme}://${address}:${client}`;
    const metricsUrl = `http://127.0.0.1:${metrics}`;
    const program = boundProgram('etcd', {
      name: `etcd member m${index}`,
      args: flags({
        name: `m${index}`,
        'data-dir': join(folder, `m${index}`),
        logger: 'zap',
        'log-level': 'warn',
        'listen-client-urls': url,
        'advertise-client-urls': url,
        'listen-metrics-urls': metricsUrl,
        'listen-peer-urls': peerUrls[index] as string,
        'initial-advertise-peer-urls': peerUrls[index] as string,
        'initial-cluster': peerUrls.map((peerUrl, peer) => `m${peer}=${peerUrl}`).join(','),
        ...(tls === undefined ? {} : certificates),
      }),
      logPath: join(folder, `m${index}.log`),
      ready: async () => (await fetch(`${metricsUrl}/health`)).ok,
    });
    const start: Program['start'] = (options = {}) => {
      const arch = UNSUPPORTED_ARCH[process.arch];
      return program.start({ ...options, env: arch === undefined ? {} : { ETCD_UNSUPPORTED_ARCH: arch } });
    };
    // Killed even when it was stopped: nothing of it is kept.
    t.teardown(() => program.kill('SIGKILL'));
    return { ...program, start, url };
  });
  // None of several is healthy before a majority has started.
  await Promise.all(members.map((member) => member.start()));
  return { members, urls: members.map(({ url }) => url) };
}

export interface EtcdClient {
  readonly connection: EtcdConnection;
  readonly keyValues: EtcdKeyValues;
  readonly leases: LeaseApi;
}

export const PREFIX = '/holdfast-test/';

/** Ends with the test. */
export function connectEtcd(
  t: Test,
  endpoints: readonly string[],
  options: Partial<EtcdOptions> & { readonly prefix?: string; readonly tls?: ClientTls } = {},
): EtcdClient {
  const { prefix = PREFIX, tls, ...more } = options;
  const connection = new EtcdConnection({
    endpoints,
    onProblem: (error) => t.comment(describeError(error)),
    ...(tls === undefined ? {} : { readTls: async () => tls }),
    ...more,
  });
  t.teardown(() => connection.close());
  const keyValues = new EtcdKeyValues(connection, prefix);
  return { connection, keyValues, leases: new LeaseApi(connection, keyValues, prefix) };
}
