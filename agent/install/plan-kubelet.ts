// How the kubelet of this host is pointed at the shim: one file that is wholly ours, whose removal undoes it. Pure.
//
// - Where the kubelet has a folder of drop-ins for its configuration and no flag says otherwise: a drop-in there.
// - Everywhere else a drop-in of its systemd unit that repeats its command with the flag at its end. The last of two flags
//   counts, and a flag wins over every file, so that it holds for kubeadm's kubeadm-flags.env, /etc/default/kubelet, a plain
//   --config and a flag in the unit; `kubeadm upgrade` writes its files again and does not undo it.
import { posix } from 'node:path';
import { CONFIG_DROP_IN, type KubeletFacts, socketOfEndpoint, UNIT_DROP_IN } from './kubelet-facts.ts';
import { LAYOUT } from './layout.ts';
import type { Blocker } from './step.ts';
import { splitWords } from './unit-file.ts';

export type KubeletPlan =
  /** The kubelet is left as it is; `why` is said to people. */
  | { readonly kind: 'leave'; readonly why: string }
  | { readonly kind: 'refuse'; readonly blocker: Blocker }
  | {
      readonly kind: 'point';
      readonly file: { readonly path: string; readonly text: string };
      readonly unit: string;
      /** A changed unit has to be read again by systemd. */
      readonly isUnitFile: boolean;
      /** Socket of the runtime that it uses without us. */
      readonly upstream: string;
      readonly endpoint: string;
    };

const ENDPOINT = `unix://${LAYOUT.shimSocket}`;
export const ENDPOINT_FLAG = `--container-runtime-endpoint=${ENDPOINT}`;

const WITHOUT = 'holdfast install --no-kubelet installs everything and leaves the kubelet alone';

const EMBEDDED: Readonly<Record<string, string>> = {
  k3s:
    'kubelet-arg: ["container-runtime-endpoint=' +
    `${ENDPOINT}"] in /etc/rancher/k3s/config.yaml, with runtime.endpoint: /run/k3s/containerd/containerd.sock`,
  RKE2:
    'kubelet-arg: ["container-runtime-endpoint=' +
    `${ENDPOINT}"] in /etc/rancher/rke2/config.yaml, with runtime.endpoint: /run/k3s/containerd/containerd.sock`,
  k0s: `--kubelet-extra-args="${ENDPOINT_FLAG}" of k0s worker, with runtime.endpoint: /run/k0s/containerd.sock`,
  MicroK8s: `${ENDPOINT_FLAG} in /var/snap/microk8s/current/args/kubelet, with runtime.endpoint: /var/snap/microk8s/common/run/containerd.sock`,
};

/** Sockets of runtimes on which Holdfast cannot keep its promises, by the name of the file. */
const OTHER_RUNTIMES: Readonly<Record<string, string>> = {
  'crio.sock':
    'CRI-O: calls would be relayed and CPUs placed, but no data kept, and the kubelet would count its containers in another way',
  'cri-dockerd.sock': 'cri-dockerd: calls would be relayed and CPUs placed, but no data kept',
  'dockershim.sock': "the kubelet's own dockershim, which has no socket that a shim could stand before",
};

const refuse = (text: string, remedy: string): KubeletPlan => ({ kind: 'refuse', blocker: { text, remedy } });

const HEAD = '# Made by holdfast install:';
const HEADLINE = `${HEAD} the kubelet's runtime is the Holdfast shim. holdfast uninstall removes this file.`;

/** A file for the kubelet that an installation made, whatever became of the manifest. */
export function isMadeByUs(text: string): boolean {
  return text.startsWith(HEAD);
}

function configDropIn(): string {
  return [
    HEADLINE,
    'apiVersion: kubelet.config.k8s.io/v1beta1',
    'kind: KubeletConfiguration',
    `containerRuntimeEndpoint: ${ENDPOINT}`,
    '',
  ].join('\n');
}

function unitDropIn(command: string): string {
  return [
    HEADLINE,
    "# The command is the unit's own with one flag at its end; install again after the unit's ExecStart has changed.",
    '[Unit]',
    'Wants=holdfast-cri-shim.socket',
    'After=holdfast-cri-shim.socket',
    '',
    '[Service]',
    'ExecStart=',
    `ExecStart=${command} ${ENDPOINT_FLAG}`,
    '',
  ].join('\n');
}

/** Why the unit's command cannot be repeated with a flag at its end; undefined when it can. */
function oddCommand(name: string, commands: readonly string[]): string | undefined {
  const [command, ...more] = commands;
  if (command === undefined) return `${name} has no ExecStart`;
  const words = splitWords(command.replace(/^[@:+!|-]*/, ''));
  if (more.length > 0 || words.includes(';')) return `${name} starts more than one program`;
  if (posix.basename(words[0] ?? '') !== 'kubelet') return `${name} starts the kubelet by way of ${words[0] ?? '?'}`;
  if (command.startsWith('@')) return `${name} starts the kubelet under another name`;
  return words.includes('--') ? `${name} has a "--" in its command` : undefined;
}

function point(facts: KubeletFacts, unit: string, commands: readonly string[], upstream: string): KubeletPlan {
  const { configDirectory, endpointByFlag, laterDropIn, endpoint } = facts;
  if (configDirectory !== undefined && !endpointByFlag && laterDropIn === undefined) {
    const file = { path: posix.join(configDirectory, CONFIG_DROP_IN), text: configDropIn() };
    return { kind: 'point', file, unit, isUnitFile: false, upstream, endpoint };
  }
  const odd = oddCommand(unit, commands);
  const [command] = commands;
  if (odd !== undefined || command === undefined) {
    return refuse(
      `${odd}, so that a flag added to its command may not reach the kubelet`,
      `point it by hand: ${ENDPOINT_FLAG}, or containerRuntimeEndpoint in its configuration; ${WITHOUT}`,
    );
  }
  const path = `${LAYOUT.units}/${unit}.d/${UNIT_DROP_IN}`;
  if (facts.laterUnitDropIn !== undefined) {
    return refuse(
      `${facts.laterUnitDropIn} sets ExecStart and is read after ${UNIT_DROP_IN}, whose flag it would take away`,
      `give it a name that sorts before ${UNIT_DROP_IN}, such as 90-site.conf; ${WITHOUT}`,
    );
  }
  return { kind: 'point', file: { path, text: unitDropIn(command) }, unit, isUnitFile: true, upstream, endpoint };
}

/**
 * @param facts - undefined when the host has no kubelet
 * @param wanted - false for `--no-kubelet`
 */
export function planKubelet(facts: KubeletFacts | undefined, wanted: boolean): KubeletPlan {
  if (!wanted) return { kind: 'leave', why: 'the kubelet is left alone, as --no-kubelet says' };
  if (facts === undefined) {
    return { kind: 'leave', why: 'there is no kubelet on this host; install again once there is one' };
  }
  if (facts.embedded !== undefined) {
    return refuse(
      `the kubelet is part of ${facts.embedded}, whose settings are not ours to change`,
      `${WITHOUT}; then set ${EMBEDDED[facts.embedded]} (in /etc/holdfast/config.yaml and the shim's --upstream); not tested by us`,
    );
  }
  const socket = socketOfEndpoint(facts.endpoint);
  if (socket === LAYOUT.shimSocket) {
    return { kind: 'leave', why: 'the kubelet was pointed at the shim by other means than holdfast install' };
  }
  if (socket === undefined) {
    return refuse(
      `the kubelet's runtime endpoint is ${facts.endpoint}, which is not a unix socket`,
      `use containerd on a unix socket; ${WITHOUT}`,
    );
  }
  const other = OTHER_RUNTIMES[posix.basename(socket)];
  if (other !== undefined) return refuse(`the kubelet's runtime is ${other}`, `use containerd; ${WITHOUT}`);
  if (facts.unit === undefined) {
    return refuse(
      `the kubelet (process ${facts.pid ?? '?'}) is no service of systemd`,
      `start it with ${ENDPOINT_FLAG} where it is started; ${WITHOUT}`,
    );
  }
  return point(facts, facts.unit.name, facts.unit.commands, socket);
}
