// Facts about other programs on the host that may assign CPUs to containers: processes, and NRI's folders and socket.
import type { HostTree } from './host-tree.ts';
import { type HostProcess, listProcesses } from './procfs.ts';

/** Where NRI (containerd, CRI-O) looks by default, see containerd's docs/NRI.md. */
const NRI_SOCKET_DIRECTORY = '/var/run/nri';
const NRI_PLUGIN_DIRECTORY = '/opt/nri/plugins';
const NRI_CONFIG_DIRECTORY = '/etc/nri/conf.d';

export interface CpuAssignerFacts {
  readonly processes: readonly HostProcess[];
  /** The runtime serves NRI's socket: plugins may connect at any time. */
  readonly nriSocket: boolean;
  /** Names of plugins that the runtime starts itself. */
  readonly nriPlugins: readonly string[];
  /** Names of configuration files of such plugins. */
  readonly nriConfigs: readonly string[];
}

/** @throws HoldfastError HOST_FAILURE when something exists but cannot be read */
export async function readCpuAssignerFacts(tree: HostTree, signal: AbortSignal): Promise<CpuAssignerFacts> {
  return {
    processes: await listProcesses(tree, signal),
    nriSocket: ((await tree.list(NRI_SOCKET_DIRECTORY)) ?? []).some((name) => name.endsWith('.sock')),
    nriPlugins: (await tree.list(NRI_PLUGIN_DIRECTORY)) ?? [],
    nriConfigs: (await tree.list(NRI_CONFIG_DIRECTORY)) ?? [],
  };
}
