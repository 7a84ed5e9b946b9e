// Does the kubelet leave CPUs and memory to Holdfast, and does it talk to the shim? Pure.
import { posix } from 'node:path';
import type { KubeletConfig } from '../../cluster/kubelet-config.ts';
import type { Finding } from './check.ts';

/** The steps are the kubelet's own: it refuses to start with another policy's state file. */
function turnOff(key: string, value: string, stateFile: string): string {
  return (
    `set ${key}: ${value} in the kubelet's configuration (and take --${toFlag(key)} off its command line), ` +
    `drain the node, stop the kubelet, remove ${stateFile}, start the kubelet`
  );
}

function toFlag(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function checkCpuManager(kubelet: KubeletConfig): Finding {
  const subject = 'kubelet CPU manager';
  if (kubelet.cpuManagerPolicy === 'none') return { level: 'ok', subject, text: 'its policy is none' };
  return {
    level: 'warning',
    subject,
    text:
      `its policy is ${kubelet.cpuManagerPolicy}: it gives pods CPUs that Holdfast does not know of and repeats that every 10 s; ` +
      "Holdfast's choice wins meanwhile, but the kubelet's bookkeeping is wrong",
    remedy: turnOff('cpuManagerPolicy', 'none', posix.join(kubelet.rootDirectory, 'cpu_manager_state')),
  };
}

function checkMemoryManager(kubelet: KubeletConfig): Finding {
  const subject = 'kubelet memory manager';
  if (kubelet.memoryManagerPolicy.toLowerCase() === 'none') return { level: 'ok', subject, text: 'its policy is None' };
  return {
    level: 'warning',
    subject,
    text:
      `its policy is ${kubelet.memoryManagerPolicy}: it binds Guaranteed pods to memory nodes of its own choice, ` +
      "beside Holdfast's; pods may be refused that would fit",
    remedy: turnOff('memoryManagerPolicy', 'None', posix.join(kubelet.rootDirectory, 'memory_manager_state')),
  };
}

function checkEndpoint(kubelet: KubeletConfig, shimSocket: string): Finding {
  const subject = 'kubelet runtime endpoint';
  const socket = kubelet.containerRuntimeEndpoint.replace(/^unix:(\/\/)?/, '');
  if (posix.normalize(socket) === posix.normalize(shimSocket)) {
    return { level: 'ok', subject, text: `the kubelet talks to the shim (${shimSocket})` };
  }
  return {
    level: 'warning',
    subject,
    text: `the kubelet talks to ${kubelet.containerRuntimeEndpoint}, past the shim: Holdfast sees none of its pods`,
    remedy:
      `set containerRuntimeEndpoint: unix://${shimSocket} in the kubelet's configuration (before 1.27: --container-runtime-endpoint) ` +
      'and restart the kubelet; running containers stay',
  };
}

/**
 * @param kubelet - undefined when none runs on the host
 * @param shimSocket - path of the socket that cri-shim serves
 */
export function checkKubelet(kubelet: KubeletConfig | undefined, shimSocket: string): readonly Finding[] {
  if (kubelet === undefined) return [{ level: 'ok', subject: 'kubelet', text: 'none runs on this host' }];
  return [checkEndpoint(kubelet, shimSocket), checkCpuManager(kubelet), checkMemoryManager(kubelet)];
}
