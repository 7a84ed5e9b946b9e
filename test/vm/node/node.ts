// A machine as a node: containerd, agent and cri-shim as systemd services in it, and outside a kubelet that sends them
// what a kubelet sends. Node.js takes seconds to start in there, so that everything that asks runs here.
import type { Test } from 'tap';
import { stringify } from 'yaml';
import { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import { podManifests } from '../../../agent/cli/quickstart/pod-manifests.ts';
import type { CgroupDriver, PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { CONTAINERD_CONFIG, guestContainerdConfig } from '../machine/containerd.ts';
import { PRODUCT_DIRECTORY } from '../machine/guest-files.ts';
import { type Machine, startMachine } from '../machine/machine.ts';
import { runIn, writeInto } from '../machine/running.ts';
import type { MachineShape } from '../machine/shapes.ts';
import type { SetUp } from '../machine/snapshot.ts';
import { kubeletHost } from './kubelet-host.ts';

/** Bounded waits for what programs in the machine do: they are ten to thirty times slower than outside. */
export const PATIENCE_MS = 3 * 60_000;

const INSTALL_TIMEOUT_MS = 10 * 60_000;

/** The point at which the agent dies, while it is there; gone after a boot. */
const FAILPOINT_FILE = '/run/failpoint';
const PODS_FILE = '/etc/holdfast/pods.json';
const KUBELET_DIRECTORY = '/var/lib/test-kubelet';

export interface NodeOptions {
  /** Of kubelet and runtime; default: systemd. */
  readonly cgroupDriver?: CgroupDriver;
  /** A network of the pods' own, made by the CNI plugin; default: pods are on the host's. */
  readonly network?: {
    /** Of the agent's configuration. */
    readonly pools: Readonly<Record<string, unknown>>;
    /** Of the plugin, beside its type. */
    readonly plugin: Readonly<Record<string, unknown>>;
  };
}

export interface VmNode {
  readonly machine: Machine;
  /** A kubelet whose CRI socket is the shim's. */
  readonly kubelet: CriClient;
  /** The same pods, past the shim. */
  readonly direct: CriClient;
  readonly topologySocket: string;
  /** Replaces what the agent knows of pods from outside: one that is left out was deleted. */
  readonly writePods: (pods: readonly PodDescription[]) => Promise<void>;
  /** The agent dies when it comes to the point, and stays dead until the next boot. */
  readonly arm: (failpoint: string) => Promise<void>;
  /** Resolves when the agent died at the point; how it ended is not looked at. */
  readonly agentDied: () => Promise<void>;
}

/** On a busy host everything in the machine takes ten times as long; the units' own times are for real machines. */
const PATIENT = `[Unit]
RequiresMountsFor=${PRODUCT_DIRECTORY}
[Service]
TimeoutStartSec=600
WatchdogSec=300
# Each function that V8 compiles costs the emulation what it had translated; without that a start takes two thirds.
Environment=NODE_OPTIONS=--jitless
`;

const AGENT_DROP_IN = `${PATIENT}Environment=HOLDFAST_FAILPOINT=${FAILPOINT_FILE}
# Dead stays dead while a point is armed.
ExecCondition=/bin/sh -c '! test -e ${FAILPOINT_FILE}'
`;

/** As the package puts it there; what a test wrote is on the disk before anything happens to the machine. */
const INSTALL = `set -e
ln -s ${PRODUCT_DIRECTORY}/bin/holdfast /usr/local/bin/holdfast
cp ${PRODUCT_DIRECTORY}/systemd/*.service ${PRODUCT_DIRECTORY}/systemd/*.socket /etc/systemd/system/
cp ${PRODUCT_DIRECTORY}/systemd/holdfast.sysusers.conf /usr/lib/sysusers.d/holdfast.conf
systemd-sysusers
systemctl daemon-reload
systemctl restart containerd
systemctl enable --quiet --now holdfast-cri-shim.socket holdfast-agent.service holdfast-cri-shim.service
sync`;

const AGENT_CONFIG = {
  apiVersion: 'holdfast.dev/v1',
  kind: 'AgentConfig',
  log: { level: 'debug' },
  schedules: { reconcile: '*/5 * * * * *' },
  podSource: { file: PODS_FILE, staticManifests: 'off' },
};

/** Where Debian's containerd looks for plugins unless it is told otherwise. */
const PLUGINS = '/usr/lib/cni';

function networkFiles({ plugin }: NonNullable<NodeOptions['network']>): Readonly<Record<string, string>> {
  const list = { cniVersion: '1.0.0', name: 'pods', plugins: [{ type: 'holdfast', ...plugin }] };
  return {
    '/etc/cni/net.d/10-holdfast.conflist': JSON.stringify(list),
    [`${PLUGINS}/holdfast`]: `#!/bin/sh\nexec node --jitless ${PRODUCT_DIRECTORY}/dist/cni-plugin/main.js\n`,
  };
}

const INSTALL_NETWORK = `set -e
chmod 755 ${PLUGINS}/holdfast
`;

function nodeSetUp(cgroupDriver: CgroupDriver, network: NodeOptions['network']): SetUp {
  const config = network === undefined ? AGENT_CONFIG : { ...AGENT_CONFIG, network: { pools: network.pools } };
  const install = `${network === undefined ? '' : INSTALL_NETWORK}${INSTALL}`;
  const files = {
    '/etc/holdfast/config.yaml': stringify(config),
    ...(network && networkFiles(network)),
    [PODS_FILE]: podManifests([]),
    [CONTAINERD_CONFIG]: guestContainerdConfig(cgroupDriver),
    '/etc/systemd/system/holdfast-agent.service.d/test.conf': AGENT_DROP_IN,
    '/etc/systemd/system/holdfast-cri-shim.service.d/test.conf': PATIENT,
  };
  return {
    name: `node-${cgroupDriver}${network === undefined ? '' : '-network'}`,
    inputs: [JSON.stringify(files), install],
    run: async (machine) => {
      await writeInto(machine, files);
      await runIn(machine, install, INSTALL_TIMEOUT_MS);
    },
  };
}

/** Starts a machine of the shape on which Holdfast runs; it comes from the cache, or is set up now. */
export async function startNode(t: Test, shape: MachineShape, options: NodeOptions = {}): Promise<VmNode> {
  const { cgroupDriver = 'systemd', network } = options;
  const machine = await startMachine(t, shape, nodeSetUp(cgroupDriver, network));
  const clientOptions = {
    directory: KUBELET_DIRECTORY,
    cgroupParent: '/',
    cgroupDriver,
    host: kubeletHost(machine, cgroupDriver),
  };
  const kubelet = new CriClient({ ...clientOptions, socketPath: machine.socket('/run/holdfast/cri.sock') });
  const direct = new CriClient({ ...clientOptions, socketPath: machine.socket('/run/containerd/containerd.sock') });
  t.teardown(() => {
    kubelet.close();
    direct.close();
  });
  return {
    machine,
    kubelet,
    direct,
    topologySocket: machine.socket('/run/holdfast/topology.sock'),
    writePods: async (pods) => {
      await machine.writeFile(`${PODS_FILE}.new`, podManifests(pods));
      await machine.run(`mv ${PODS_FILE}.new ${PODS_FILE} && sync ${PODS_FILE}`);
    },
    arm: async (failpoint) => {
      await machine.run(`echo ${failpoint} > ${FAILPOINT_FILE}`);
    },
    agentDied: async () => {
      await pollUntil('the agent to die at its failpoint', PATIENCE_MS, async () => {
        const { exitCode } = await machine.attempt('systemctl is-active --quiet holdfast-agent');
        return exitCode === 0 ? undefined : true;
      });
    },
  };
}
