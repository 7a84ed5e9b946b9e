// What uninstalling does about stateful addresses: the network and the plugin go where they are as we made them; what
// Holdfast has set in the kernel goes where no pod uses it. Pure.
import type { HostTraces } from '../host/network/host-traces.ts';
import { isOursUnchanged, readNetwork, usesOurPlugin } from './cni-facts.ts';
import type { InstallFacts } from './facts.ts';
import { isAsWritten } from './manifest.ts';
import type { Step } from './step.ts';
import { isRenderedNetwork, NETWORK_FILE, PLUGIN_SCRIPT } from './wanted-cni.ts';

export interface CniRemoval {
  /** Before the services stop: from then on the runtime takes another network, if it has one. */
  readonly network: readonly Step[];
  /** After they have stopped: until then the plugin may be asked. */
  readonly plugin: readonly Step[];
  readonly kernel: readonly Step[];
  readonly notes: readonly string[];
}

/** By hand, once no pod has an interface of Holdfast any more. */
export const CLEAR_BY_HAND =
  'nft delete table inet holdfast; ip -4 rule del priority 27720; ip -6 rule del priority 27720; ip -4 route flush table 2772; ip -6 route flush table 2772';

function planNetwork({ cni, manifest, paths }: InstallFacts): Pick<CniRemoval, 'network' | 'notes'> {
  const steps: Step[] = [];
  const notes: string[] = [];
  for (const { path, text } of cni.networks) {
    const known = manifest?.files[path];
    const isPlaced = known !== undefined || path === manifest?.cni?.network;
    const isOurs = isAsWritten(text, known) || (path.endsWith(`/${NETWORK_FILE}`) && isRenderedNetwork(path, text));
    const network = readNetwork({ path, text });
    if (isOurs && paths.get(path)?.kind !== 'link')
      steps.push({ do: 'remove', path, before: text, note: 'the network of new pods' });
    else if (network !== undefined && usesOurPlugin(network)) {
      const what = isPlaced ? 'was changed since it was installed' : 'is not by holdfast install';
      notes.push(`${path} ${what} and stays: pods of this network cannot start without the plugin; remove it yourself`);
    }
  }
  return { network: steps, notes };
}

function planPlugin({ cni, manifest }: InstallFacts): Pick<CniRemoval, 'plugin' | 'notes'> {
  const steps: Step[] = cni.unfinished.map((path) => ({
    do: 'remove-tree',
    path,
    note: 'a launcher that was cut short',
  }));
  const notes: string[] = [];
  for (const [path, found] of cni.plugins) {
    if (isOursUnchanged(found, path, PLUGIN_SCRIPT, manifest))
      steps.push({ do: 'remove', path, note: 'the CNI plugin' });
    else if (found.kind === 'script') notes.push(`${path} was changed since it was installed and stays`);
    else if (found.kind === 'by-hand') notes.push(`${path} was put there by hand and stays`);
    // What is somebody else's now is told of only where we once had the place.
    else if (found.kind === 'foreign' && path === manifest?.cni?.plugin) {
      notes.push(`${path} is ${found.what} of somebody else's and stays`);
    }
  }
  return { plugin: steps, notes };
}

function planKernel(traces: HostTraces | undefined): Pick<CniRemoval, 'kernel' | 'notes'> {
  if (traces === undefined) return { kernel: [], notes: [] };
  const { podInterfaces, hasTable, rules } = traces;
  const isSomething = hasTable || rules > 0;
  if (podInterfaces === 0) return { kernel: isSomething ? [{ do: 'clear-network' }] : [], notes: [] };
  const pods = `${podInterfaces} interfaces of pods (hf…) are on this host`;
  const later = isSomething
    ? [
        `${pods}: the table inet holdfast and the rules 27720 stay, because pods use them; once they are gone: ${CLEAR_BY_HAND}`,
      ]
    : [];
  const stuck = `${pods}: the runtime cannot give them back without the plugin and the agent; delete these pods first (kubectl drain)`;
  return { kernel: [], notes: [stuck, ...later] };
}

/** @param traces - undefined where nothing runs */
export function planCniRemoval(facts: InstallFacts, traces: HostTraces | undefined): CniRemoval {
  const network = planNetwork(facts);
  const plugin = planPlugin(facts);
  const kernel = planKernel(traces);
  return {
    network: network.network,
    plugin: plugin.plugin,
    kernel: kernel.kernel,
    notes: [...kernel.notes, ...network.notes, ...plugin.notes],
  };
}
