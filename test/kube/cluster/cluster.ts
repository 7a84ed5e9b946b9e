// A cluster of one node for a test file: a real control plane and a real kubelet, and below it the cri-shim, the agent
// and a private containerd. Everything goes at the end of the test, also when it fails or is killed.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import type { Test } from 'tap';
import { type PrivateHost, startPrivateHost } from '../../../agent/cli/quickstart/private-host.ts';
import type { Program } from '../../../agent/cli/quickstart/program.ts';
import { kubernetesPrograms } from '../build/kubernetes.ts';
import { makeAgentAccount } from './agent-account.ts';
import { type ControlPlane, prepareControlPlane } from './control-plane.ts';
import type { Flags } from './flags.ts';
import { createKubectl, type Kubectl } from './kubectl.ts';
import { prepareKubelet } from './kubelet.ts';
import { configurePodNetwork, removePodNetwork } from './pod-network.ts';
import { NODE_NAME } from './users.ts';
import { until } from './wait.ts';

export const NEEDS_ROOT = process.geteuid?.() === 0 ? false : 'containers and a kubelet need root';

const LOG_TAIL = 8_000;

export interface Cluster extends Kubectl {
  /** The node's containerd, agent and cri-shim; `direct` looks at containers past the shim. */
  readonly host: PrivateHost;
  readonly nodeKubelet: Program;
  readonly apiServer: Program;
  /** As an administrator. */
  readonly core: CoreV1Api;
  /** Path of that administrator's kubeconfig. */
  readonly adminKubeconfig: string;
}

type ExtraConfig = Readonly<Record<string, unknown>>;

export interface ClusterOptions {
  /**
   * Merged over the agent's configuration, by top-level key; a function gets the folder of the node's files and the
   * agent's kubeconfig.
   */
  readonly config?: ExtraConfig | ((directory: string, agentKubeconfig: string) => ExtraConfig);
  readonly kubeletFlags?: Flags;
  /** Of the scheduler, as in its configuration. */
  readonly extenders?: readonly object[];
}

interface Control extends Kubectl {
  readonly plane: ControlPlane;
  readonly core: CoreV1Api;
  /** Path of the agent's kubeconfig. */
  readonly agentKubeconfig: string;
}

async function printLogs(host: PrivateHost): Promise<void> {
  const control = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map(
    (name) => `control-plane/${name}`,
  );
  for (const name of [...control, 'containerd', 'kubelet', 'agent', 'cri-shim']) {
    const path = join(host.containerd.directory, `${name}.log`);
    const text = await readFile(path, 'utf8').catch((error: unknown) => `cannot be read: ${String(error)}`);
    process.stderr.write(`---- ${name} ----\n${text.slice(-LOG_TAIL)}\n`);
  }
}

/** Pods can be made when the node takes them and their service account exists. */
async function waitForNode(core: CoreV1Api): Promise<void> {
  await until('the node to be ready', async () => {
    const { items } = await core.listNode();
    return items.some(({ status, spec }) => {
      const isReady = status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
      return isReady === true && (spec?.taints ?? []).length === 0;
    });
  });
  await until('the service account of the pods', async () => {
    const { items } = await core.listNamespacedServiceAccount({ namespace: 'default' });
    return items.some(({ metadata, secrets }) => metadata?.name === 'default' && (secrets ?? []).length > 0);
  });
}

type Start = (program: Program) => Promise<void>;

async function startControlPlane(
  programs: string,
  directory: string,
  start: Start,
  extenders: readonly object[] | undefined,
): Promise<Control> {
  const folder = join(directory, 'control-plane');
  const plane = await prepareControlPlane(programs, folder, extenders);
  await start(plane.etcd);
  await start(plane.apiServer);
  await Promise.all([start(plane.controllerManager), start(plane.scheduler)]);
  const { admin } = plane.users.kubeconfigs;
  const configuration = new KubeConfig();
  configuration.loadFromFile(admin);
  const core = configuration.makeApiClient(CoreV1Api);
  const terminal = createKubectl(programs, admin, join(directory, 'kubectl'));
  const address = { server: plane.server, authority: plane.certificates.authority };
  const agentKubeconfig = await makeAgentAccount(core, terminal.kubectl, address, folder);
  return { plane, core, agentKubeconfig, ...terminal };
}

/**
 * Starts a cluster; it is stopped at the end of the test. The first call on a machine builds Kubernetes.
 * The agent reconciles every second, and learns of pods from the API server.
 */
export async function startCluster(t: Test, options: ClusterOptions = {}): Promise<Cluster> {
  const programs = await kubernetesPrograms();
  const running: Program[] = [];
  const start: Start = async (program) => {
    running.unshift(program);
    await program.start();
  };
  let host: PrivateHost | undefined;
  let control: Control | undefined;
  t.teardown(async () => {
    if (!t.passing() && host !== undefined) await printLogs(host);
    for (const program of running) await program.kill('SIGKILL');
    await host?.stop();
    await removePodNetwork();
  });
  host = await startPrivateHost({
    config: async (directory) => {
      await configurePodNetwork(directory, join(programs, 'cni'));
      control = await startControlPlane(programs, directory, start, options.extenders);
      const { config } = options;
      return {
        nodeName: NODE_NAME,
        log: { level: 'debug' },
        schedules: { reconcile: '* * * * * *' },
        podSource: { api: { kubeconfig: control.agentKubeconfig }, staticManifests: 'off' },
        ...(typeof config === 'function' ? config(directory, control.agentKubeconfig) : config),
      };
    },
  });
  if (control === undefined) throw new Error('the control plane is made with the host');
  const { plane, ...api } = control;
  const nodeKubelet = await prepareKubelet({
    programs,
    containerd: host.containerd,
    authority: plane.certificates.authority,
    kubeconfig: plane.users.kubeconfigs.kubelet,
    ...(options.kubeletFlags && { flags: options.kubeletFlags }),
  });
  await start(nodeKubelet);
  await waitForNode(api.core);
  const adminKubeconfig = plane.users.kubeconfigs.admin;
  return { ...api, host, nodeKubelet, apiServer: plane.apiServer, adminKubeconfig };
}
