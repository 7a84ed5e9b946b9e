// A node whose pods have a network of their own, made by the CNI plugin: what a kubelet, a runtime and the kernel see of it.
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { create } from '@bufbuild/protobuf';
import type { Test } from 'tap';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { isHostName } from '../../../agent/network/plan-link.ts';
import { callUnary, connectUnix } from '../../../lib/grpc-client.ts';
import { Admin, ListAddressesRequestSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { RuntimeService, StatusRequestSchema } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { TestNamespace } from '../../support/network-namespaces.ts';
import { PATIENCE_MS, settles, startNode, type TestNode, until } from '../lifecycle/harness.ts';
import { ensureRunning, ensureSandbox, somePod } from '../lifecycle/pods.ts';

const execute = promisify(execFile);
const HOLDFAST = fileURLToPath(new URL('../../../bin/holdfast', import.meta.url));
const PLUGIN = fileURLToPath(new URL('../../../dist/cni-plugin/main.js', import.meta.url));

/** Debian's place for those of the CNI project. */
const OTHER_PLUGINS = '/usr/lib/cni';

export interface NetworkNode extends TestNode {
  readonly bridge: string;
  /** Where it is not this machine's network. */
  readonly namespace?: TestNamespace;
}

export interface NetworkNodeOptions {
  /** Of the agent's configuration; the pools. */
  readonly network: Readonly<Record<string, unknown>>;
  /** Of the plugin in the network's configuration, beside its type. */
  readonly plugin?: Readonly<Record<string, unknown>>;
  readonly pods?: readonly PodDescription[];
  /** The network of the host. Default: this machine's. */
  readonly namespace?: TestNamespace;
  /** Of the agent's configuration, beside the network, by top-level key. */
  readonly config?: Readonly<Record<string, unknown>>;
}

async function hasNetwork(socketPath: string): Promise<boolean> {
  const client = connectUnix(socketPath);
  try {
    const request = create(StatusRequestSchema);
    const { status } = await callUnary(client, RuntimeService.method.status, request, { timeoutMs: PATIENCE_MS });
    return status?.conditions.some(({ type, status: ready }) => type === 'NetworkReady' && ready) ?? false;
  } finally {
    client.close();
  }
}

/** Tells the runtime of the network once the agent serves it; resolves when the runtime has read it. */
export async function startNetworkNode(
  t: Test,
  { network, plugin, pods, namespace, config }: NetworkNodeOptions,
): Promise<NetworkNode> {
  const bridge = `hfnet${process.pid}`;
  const node = await startNode(t, {
    config: { network, ...config },
    ...(pods && { pods }),
    ...(namespace && { networkNamespace: namespace.path }),
  });
  const { directory } = node.containerd;
  // That of a namespace goes with it.
  if (namespace === undefined) {
    t.teardown(() => execute('ip', ['link', 'delete', bridge]).catch(() => t.comment(`no bridge ${bridge} to delete`)));
  }
  await mkdir(join(directory, 'cni', 'bin'), { recursive: true });
  await mkdir(join(directory, 'cni', 'net.d'), { recursive: true });
  // The runtime itself wants `loopback`; `portmap` and the others are for chains.
  for (const name of await readdir(OTHER_PLUGINS)) {
    await symlink(join(OTHER_PLUGINS, name), join(directory, 'cni', 'bin', name));
  }
  const executable = join(directory, 'cni', 'bin', 'holdfast');
  const socket = join(directory, 'run', 'cni.sock');
  await writeFile(executable, `#!/bin/sh\nHOLDFAST_CNI_SOCKET=${socket} exec ${process.execPath} ${PLUGIN}\n`);
  await chmod(executable, 0o755);
  const list = { cniVersion: '1.0.0', name: 'pods', plugins: [{ type: 'holdfast', bridge, ...plugin }] };
  await writeFile(join(directory, 'cni', 'net.d', '10-holdfast.conflist'), JSON.stringify(list));
  await until('the runtime to have read its network', () => hasNetwork(node.containerd.socketPath));
  return { ...node, bridge, ...(namespace && { namespace }) };
}

/** A pod on the pods' network. */
export function networkPod(
  annotations: PodDescription['annotations'],
  pod: Partial<PodDescription> = {},
): PodDescription {
  return {
    ...somePod(annotations, { cpuLimit: milliCpu(100), memoryLimit: bytes(16 * 1024 * 1024) }),
    network: 'pod',
    ...pod,
  };
}

export interface RunningNetworkPod {
  readonly sandboxId: string;
  readonly containerId: string;
  /** Of the container's first process, on the host. */
  readonly processId: number;
}

export async function run({ kubelet, direct }: NetworkNode, pod: PodDescription): Promise<RunningNetworkPod> {
  const running = await ensureSandbox(kubelet, pod);
  const containerId = await ensureRunning(kubelet, running, 'next');
  return { sandboxId: running.sandboxId, containerId, processId: await direct.processId(containerId) };
}

/** A command of `holdfast` that asks the node's agent. @returns what it printed */
export async function holdfast({ agentSocket }: NetworkNode, ...args: readonly string[]): Promise<string> {
  const { stdout } = await execute(HOLDFAST, [...args, '--socket', agentSocket]);
  return stdout;
}

export async function stopAndRemove({ kubelet }: NetworkNode, sandboxId: string): Promise<void> {
  await kubelet.stopPodSandbox(sandboxId);
  await kubelet.removePodSandbox(sandboxId);
}

/** What the kernel has on eth0, link-local addresses left out. */
export async function addressesOf({ processId }: Pick<RunningNetworkPod, 'processId'>): Promise<readonly string[]> {
  const args = ['-t', `${processId}`, '-n', 'ip', '-json', 'address', 'show', 'dev', 'eth0'];
  const { stdout } = await execute('nsenter', args);
  const [link] = JSON.parse(stdout) as readonly {
    addr_info: readonly { local: string; prefixlen: number; scope: string }[];
  }[];
  return (link?.addr_info ?? [])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

/** Whether one pod reaches an address. */
export async function reaches({ processId }: Pick<RunningNetworkPod, 'processId'>, address: string): Promise<boolean> {
  const program = address.includes(':') ? 'ping6' : 'ping';
  const args = ['-t', `${processId}`, '-n', 'busybox', program, '-c', '1', '-W', '5', address.replace(/\/.*/, '')];
  return await execute('nsenter', args).then(
    () => true,
    () => false,
  );
}

/** Addresses that the agent says sandboxes have, without prefix lengths. */
async function heldAddresses({ agentSocket }: NetworkNode): Promise<readonly string[]> {
  const client = connectUnix(agentSocket);
  try {
    const request = create(ListAddressesRequestSchema);
    const { addresses } = await callUnary(client, Admin.method.listAddresses, request, { timeoutMs: PATIENCE_MS });
    return addresses.filter(({ state }) => state === 'held').map(({ address }) => address);
  } finally {
    client.close();
  }
}

/** The host's ends of pods' interfaces. */
async function hostEnds({ bridge, namespace }: NetworkNode): Promise<readonly string[]> {
  const inside = namespace === undefined ? [] : ['-n', namespace.name];
  const { stdout } = await execute('ip', [...inside, '-json', 'link', 'show', 'master', bridge]);
  const ports = (JSON.parse(stdout) as readonly { ifname: string }[]).map(({ ifname }) => ifname);
  return ports.filter(isHostName);
}

/** Whether kernel, store and runtime tell the same: these pods have addresses, and nobody else has anything. */
export async function assertAgree(t: Test, node: NetworkNode, running: readonly RunningNetworkPod[]): Promise<void> {
  const observed = (await Promise.all(running.map(addressesOf))).flat().map((each) => each.replace(/\/.*/, ''));
  await settles(t, 'the addresses on record are those of the pods', observed.toSorted(), async () =>
    (await heldAddresses(node)).toSorted(),
  );
  await settles(
    t,
    'each pod has its interface on the bridge, and nobody else',
    running.length,
    async () => (await hostEnds(node)).length,
  );
}
