// One look at the whole runtime, in the registry's terms.
import type { PodSource } from '../cluster/pod-source.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { containerFromRuntime, podFromRuntime } from './pod-from-cri.ts';
import type { Listing, Registry } from './registry.ts';

/**
 * Brings the registry up to date with the runtime. Sandboxes and containers that no kubelet made are left out.
 * @throws HoldfastError UNAVAILABLE when the runtime does not answer; the registry is then as before
 */
export async function refreshRegistry(
  registry: Registry,
  runtime: ContainerRuntime,
  podSource: PodSource,
  signal: AbortSignal,
): Promise<void> {
  const mark = registry.mark();
  const [sandboxes, containers] = await Promise.all([runtime.listSandboxes(signal), runtime.listContainers(signal)]);
  const ofKubelet = sandboxes.filter((sandbox) => sandbox.podUid !== '');
  const listing: Listing = {
    // The newest sandbox first: the registry keeps the first description of a pod that it gets.
    pods: ofKubelet
      .toSorted((a, b) => b.createdAt - a.createdAt)
      .map((sandbox) => {
        const name = { uid: sandbox.podUid, namespace: sandbox.podNamespace, name: sandbox.podName };
        return podFromRuntime(sandbox, podSource.find(name));
      }),
    sandboxes: ofKubelet.map(({ id, podUid }) => ({ id, podUid })),
    containers: containers.filter(({ podUid }) => podUid !== '').map(containerFromRuntime),
  };
  registry.replace(listing, mark);
}
