// The file from which the agent learns what CRI does not say: the pods as the API server would list them. Pure.
import type { ContainerDescription, PodDescription } from './pod-requests.ts';

function quantities(cpu: number | undefined, memory: number | undefined): Readonly<Record<string, string>> {
  return { ...(cpu !== undefined && { cpu: `${cpu}m` }), ...(memory !== undefined && { memory: `${memory}` }) };
}

function container({ name, image, cpuRequest, cpuLimit, memoryRequest, memoryLimit }: ContainerDescription): object {
  const resources = {
    limits: quantities(cpuLimit, memoryLimit),
    requests: quantities(cpuRequest ?? cpuLimit, memoryRequest ?? memoryLimit),
  };
  return { name, image, resources };
}

/** A PodList that names every pod of the host: one that leaves it counts as deleted. */
export function podManifests(pods: readonly PodDescription[]): string {
  const list = {
    apiVersion: 'v1',
    kind: 'PodList',
    metadata: { annotations: { 'holdfast.dev/complete': 'true' } },
    items: pods.map(({ name, namespace, uid, labels, annotations, initContainers = [], containers }) => ({
      metadata: { name, namespace, uid, labels, annotations },
      spec: { initContainers: initContainers.map(container), containers: containers.map(container) },
    })),
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}
