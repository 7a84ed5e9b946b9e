// The kubelet of Kubernetes 1.20 on a private host: its CRI socket is the cri-shim's, its files are in one folder, and
// the host's cgroups, kernel settings and packet filter are left alone.
import { mkdir, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { PrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { criSocket } from '../../../agent/cli/quickstart/private-host.ts';
import type { Program } from '../../../agent/cli/quickstart/program.ts';
import { CONTAINER_LOGS_VARIABLE, POD_LOGS_VARIABLE } from '../build/source-changes.ts';
import { boundProgram, type Flags, flags } from './flags.ts';
import { freePort } from './ports.ts';
import { NODE_NAME } from './users.ts';

export interface KubeletOptions {
  /** The folder with the executable. */
  readonly programs: string;
  readonly containerd: Pick<PrivateContainerd, 'directory' | 'cgroupParent'>;
  /** PEM file of who signed the API server's client certificate. */
  readonly authority: string;
  readonly kubeconfig: string;
  /** Added to its command line. */
  readonly flags?: Flags;
}

/** Where the kubelet looks for manifests of static pods. */
export function staticPodFolder(directory: string): string {
  return join(directory, 'static-pods');
}

function configuration({ containerd, authority }: KubeletOptions, port: number, healthPort: number): unknown {
  const { directory, cgroupParent } = containerd;
  const none = ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available', 'imagefs.inodesFree'];
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: '127.0.0.1',
    port,
    healthzBindAddress: '127.0.0.1',
    healthzPort: healthPort,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: false }, x509: { clientCAFile: authority } },
    authorization: { mode: 'AlwaysAllow' },
    staticPodPath: staticPodFolder(directory),
    volumePluginDir: join(directory, 'volume-plugins'),
    // On this kind of host the cgroups that a node usually has belong to others.
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    cgroupRoot: cgroupParent,
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    resolvConf: '',
    evictionHard: Object.fromEntries(none.map((signal) => [signal, '0%'])),
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    oomScoreAdj: 0,
    // Their sockets are at fixed places of the host.
    featureGates: { DevicePlugins: false, KubeletPodResources: false },
  };
}

function isHealthy(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    get(`http://127.0.0.1:${port}/healthz`, { timeout: 5_000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', reject);
  });
}

/** Writes its configuration; nothing is started. */
export async function prepareKubelet(options: KubeletOptions): Promise<Program> {
  const { programs, containerd, kubeconfig } = options;
  const { directory } = containerd;
  const [port, healthPort] = [await freePort(), await freePort()];
  const configFile = join(directory, 'kubelet.yaml');
  await writeFile(configFile, stringify(configuration(options, port, healthPort)));
  await mkdir(staticPodFolder(directory));
  const program = boundProgram(join(programs, 'kubelet'), {
    name: 'kubelet',
    args: flags({
      config: configFile,
      kubeconfig,
      'hostname-override': NODE_NAME,
      'root-dir': join(directory, 'kubelet'),
      'cert-dir': join(directory, 'kubelet-certificates'),
      'container-runtime': 'remote',
      'container-runtime-endpoint': `unix://${criSocket(directory)}`,
      v: 2,
      ...options.flags,
    }),
    logPath: join(directory, 'kubelet.log'),
    ready: () => isHealthy(healthPort),
  });
  const logs = {
    [POD_LOGS_VARIABLE]: join(directory, 'pod-logs'),
    [CONTAINER_LOGS_VARIABLE]: join(directory, 'container-logs'),
  };
  return { ...program, start: ({ env, ...rest } = {}) => program.start({ env: { ...logs, ...env }, ...rest }) };
}
