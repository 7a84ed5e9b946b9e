// A cluster of one node for a test file: a real control plane and a real kubelet, and below it the cri-shim, the agent
// and a private containerd. Everything goes at the end of the test, also when it fails or is killed.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BatchV1Api, CoreV1Api, KubeConfig, type KubernetesObject } from '@kubernetes/client-node';
import type { Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { type PrivateHost, startPrivateHost } from '../../../agent/cli/quickstart/private-host.ts';
import type { Program } from '../../../agent/cli/quickstart/program.ts';
import { kubernetesPrograms } from '../build/kubernetes.ts';
import { type ControlPlane, prepareControlPlane } from './control-plane.ts';
import { prepareKubelet } from './kubelet.ts';
import { configurePodNetwork, removePodNetwork } from './pod-network.ts';
import { NODE_NAME } from './users.ts';

export const NEEDS_ROOT = process.geteuid?.() === 0 ? false : 'containers and a kubelet need root';

/** For what several busy programs do one after the other. */
export const PATIENCE_MS = 240_000;
/** Between two looks, each of which costs the API server something. */
const LOOK_MS = 250;
const LOG_TAIL = 8_000;

export interface Cluster extends Pick<ControlPlane, 'etcd' | 'apiServer' | 'controllerManager' | 'scheduler'> {
  /** The node's containerd, agent and cri-shim; `direct` looks at containers past the shim. */
  readonly host: PrivateHost;
  readonly nodeKubelet: Program;
  /** As an administrator. */
  readonly core: CoreV1Api;
  readonly batch: BatchV1Api;
  /** Runs kubectl as an administrator. @returns its standard output @throws Error with what it says on standard error */
  readonly kubectl: (...args: readonly string[]) => Promise<string>;
  /** `kubectl apply`. */
  readonly apply: (...objects: readonly KubernetesObject[]) => Promise<void>;
}

/** Asks until the condition holds; fails with what is missing. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  await pollUntil(what, PATIENCE_MS, async () => ((await holds()) ? true : await pause()));
}

function pause(): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(undefined), LOOK_MS);
  });
}

async function printLogs(host: PrivateHost): Promise<void> {
  const control = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map(
    (name) => `control-plane/${name}`,
  );
  for (const name of ['agent', 'cri-shim', 'containerd', 'kubelet', ...control]) {
    const path = join(host.containerd.directory, `${name}.log`);
    const text = await readFile(path, 'utf8').catch((error: unknown) => `cannot be read: ${String(error)}`);
    process.stderr.write(`---- ${name} ----\n${text.slice(-LOG_TAIL)}\n`);
  }
}

interface Kubectl {
  readonly kubectl: Cluster['kubectl'];
  readonly apply: Cluster['apply'];
}

function kubectlAs(kubeconfig: string, programs: string, cache: string): Kubectl {
  const run = (args: readonly string[], input = ''): Promise<string> => {
    const common = ['--kubeconfig', kubeconfig, '--cache-dir', cache];
    const running = promisify(execFile)(join(programs, 'kubectl'), [...common, ...args], { timeout: PATIENCE_MS });
    running.child.stdin?.end(input);
    return running.then(({ stdout }) => stdout);
  };
  return {
    kubectl: (...args) => run(args),
    apply: async (...objects) => {
      await run(['apply', '--filename', '-'], objects.map((object) => JSON.stringify(object)).join('\n'));
    },
  };
}

/** Pods can be made when the node takes them and their service account exists. */
async function waitForNode(core: CoreV1Api): Promise<void> {
  await until('the node to be ready', async () => {
    const { items } = await core.listNode();
    return items.some(({ status }) =>
      status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True'),
    );
  });
  await until('the service account of the pods', async () => {
    const { items } = await core.listNamespacedServiceAccount({ namespace: 'default' });
    return items.some(({ metadata, secrets }) => metadata?.name === 'default' && (secrets ?? []).length > 0);
  });
}

export interface ClusterOptions {
  /** Merged over the agent's configuration, by top-level key. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/**
 * Starts a cluster; it is stopped at the end of the test. The first call on a machine builds Kubernetes.
 * The agent reconciles every second.
 */
export async function startCluster(t: Test, options: ClusterOptions = {}): Promise<Cluster> {
  const programs = await kubernetesPrograms();
  const running: Program[] = [];
  const start = async (program: Program): Promise<void> => {
    running.unshift(program);
    await program.start();
  };
  let host: PrivateHost | undefined;
  let plane: ControlPlane | undefined;
  t.teardown(async () => {
    if (!t.passing() && host !== undefined) await printLogs(host);
    for (const program of running) await program.kill('SIGKILL');
    await host?.stop();
    await removePodNetwork();
  });
  host = await startPrivateHost({
    config: async (directory) => {
      await configurePodNetwork(directory, join(programs, 'cni'));
      plane = await prepareControlPlane(programs, join(directory, 'control-plane'));
      await start(plane.etcd);
      await start(plane.apiServer);
      await Promise.all([start(plane.controllerManager), start(plane.scheduler)]);
      return {
        nodeName: NODE_NAME,
        log: { level: 'debug' },
        schedules: { reconcile: '* * * * * *' },
        holdings: { gracePeriod: '2s' },
        podSource: { staticManifests: 'off' },
        ...options.config,
      };
    },
  });
  if (plane === undefined) throw new Error('the control plane is made with the host');
  const { containerd } = host;
  const kubeconfig = plane.users.kubeconfigs.kubelet;
  const { authority } = plane.certificates;
  const nodeKubelet = await prepareKubelet({ programs, containerd, authority, kubeconfig });
  await start(nodeKubelet);
  const configuration = new KubeConfig();
  configuration.loadFromFile(plane.users.kubeconfigs.admin);
  const core = configuration.makeApiClient(CoreV1Api);
  await waitForNode(core);
  return {
    host,
    nodeKubelet,
    core,
    batch: configuration.makeApiClient(BatchV1Api),
    ...plane,
    ...kubectlAs(plane.users.kubeconfigs.admin, programs, join(containerd.directory, 'kubectl')),
  };
}
