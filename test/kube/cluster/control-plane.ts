// etcd, the API server, the controller manager and the scheduler, each on loopback with its files in one folder.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Program } from '../../../agent/cli/quickstart/program.ts';
import { type ClusterCertificates, makeCertificates } from './certificates.ts';
import { boundProgram, type Flags, flags } from './flags.ts';
import { freePort } from './ports.ts';
import { makeUsers, type Users } from './users.ts';

export interface ControlPlane {
  readonly etcd: Program;
  readonly apiServer: Program;
  readonly controllerManager: Program;
  readonly scheduler: Program;
  /** `https://127.0.0.1:…` */
  readonly server: string;
  readonly certificates: ClusterCertificates;
  readonly users: Users;
}

/** Whether the API server says that it is ready; rejects while nobody listens. */
function isReady(server: string, authority: Buffer, token: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const call = request(`${server}/readyz`, { ca: authority, headers, timeout: 5_000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on('timeout', () => call.destroy(new Error('no answer')));
    call.on('error', reject);
    call.end();
  });
}

function etcdProgram(folder: string, url: string, peerUrl: string): Program {
  const listen = { 'listen-client-urls': url, 'advertise-client-urls': url };
  const peers = {
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `default=${peerUrl}`,
  };
  return boundProgram('etcd', {
    name: 'etcd',
    args: flags({ 'data-dir': join(folder, 'etcd'), 'log-level': 'warn', ...listen, ...peers }),
    logPath: join(folder, 'etcd.log'),
    ready: async () => (await fetch(`${url}/health`)).ok,
  });
}

function apiServerFlags(port: number, etcd: string, { apiServer, ...own }: ClusterCertificates): readonly string[] {
  return flags({
    'etcd-servers': etcd,
    'bind-address': '127.0.0.1',
    'advertise-address': '127.0.0.1',
    'endpoint-reconciler-type': 'none',
    'secure-port': port,
    'insecure-port': 0,
    'tls-cert-file': apiServer.certificate,
    'tls-private-key-file': apiServer.key,
    'client-ca-file': own.authority,
    'kubelet-client-certificate': own.kubeletClient.certificate,
    'kubelet-client-key': own.kubeletClient.key,
    'kubelet-preferred-address-types': 'Hostname',
    'anonymous-auth': false,
    'authorization-mode': 'Node,RBAC',
    'enable-admission-plugins': 'NodeRestriction',
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-signing-key-file': own.serviceAccountKey,
    'service-account-key-file': own.serviceAccountKey,
    'service-cluster-ip-range': '10.255.255.0/24',
  });
}

/** A file of kube-scheduler's own that names extenders; everything else as by default. */
async function writeSchedulerConfig(folder: string, kubeconfig: string, extenders: readonly object[]): Promise<string> {
  const file = join(folder, 'scheduler.yaml');
  // Nobody asks it; without these it listens on all addresses.
  const address = `127.0.0.1:${await freePort()}`;
  const config = {
    apiVersion: 'kubescheduler.config.k8s.io/v1beta1',
    kind: 'KubeSchedulerConfiguration',
    clientConnection: { kubeconfig },
    leaderElection: { leaderElect: false },
    healthzBindAddress: address,
    metricsBindAddress: address,
    extenders,
  };
  await writeFile(file, stringify(config));
  return file;
}

/**
 * Describes the programs and makes their files; nothing is started.
 * @param programs - the folder with the executables
 * @param folder - is made; takes certificates, data and logs
 * @param extenders - of the scheduler, as its configuration has them
 */
export async function prepareControlPlane(
  programs: string,
  folder: string,
  extenders: readonly object[] = [],
): Promise<ControlPlane> {
  await mkdir(folder, { mode: 0o700 });
  const certificates = await makeCertificates(folder);
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const server = `https://127.0.0.1:${port}`;
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const users = await makeUsers(folder, { server, authority: certificates.authority });
  const authority = await readFile(certificates.authority);
  const schedulerFlags: Flags =
    extenders.length === 0
      ? {}
      : { config: await writeSchedulerConfig(folder, users.kubeconfigs.scheduler, extenders) };
  const client = (name: string, file: string, more: Flags): Program =>
    boundProgram(join(programs, name), {
      name,
      args: flags({
        kubeconfig: file,
        'bind-address': '127.0.0.1',
        port: 0,
        'secure-port': 0,
        'leader-elect': false,
        ...more,
      }),
      logPath: join(folder, `${name}.log`),
      // It serves nobody; what it does is seen in the API.
      ready: async () => true,
    });
  return {
    etcd: etcdProgram(folder, etcdUrl, `http://127.0.0.1:${peerPort}`),
    apiServer: boundProgram(join(programs, 'kube-apiserver'), {
      name: 'kube-apiserver',
      args: [...apiServerFlags(port, etcdUrl, certificates), ...flags({ 'token-auth-file': users.tokenFile })],
      logPath: join(folder, 'kube-apiserver.log'),
      ready: () => isReady(server, authority, users.adminToken),
    }),
    controllerManager: client('kube-controller-manager', users.kubeconfigs.controllerManager, {
      'service-account-private-key-file': certificates.serviceAccountKey,
      'root-ca-file': certificates.authority,
      'use-service-account-credentials': true,
      // Is made; the default is a place of the host.
      'flex-volume-plugin-dir': join(folder, 'volume-plugins'),
    }),
    scheduler: client('kube-scheduler', users.kubeconfigs.scheduler, schedulerFlags),
    server,
    certificates,
    users,
  };
}
