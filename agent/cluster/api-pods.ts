// This node's pods: what is asked of the API server, and what is kept of them.
import { type ListFrom, type ListLimits, listObjects, type ObjectKind, type ObjectsRequest } from './api-objects.ts';
import { type ApiPod, readApiPod } from './api-pod.ts';
import { type PodList, VIEW_LIMITS, withoutFacts } from './api-pod-view.ts';
import { factsAsText } from './facts-text.ts';

/** No node has so many pods: a server that sends them must not cost us the memory. */
export const LIST_LIMITS: ListLimits = {
  items: 20_000,
  unreadable: 100,
  characters: VIEW_LIMITS.characters,
  totalMs: 10 * 60_000,
};

/** The field selector is what the kubelet's own credentials are allowed; others' rights cannot be narrowed to a node. */
export function podsOfNode(nodeName: string): ObjectKind<ApiPod> {
  return {
    path: '/api/v1/pods',
    parameters: { fieldSelector: `spec.nodeName=${nodeName}` },
    listKind: 'PodList',
    what: 'pods',
    pageSizes: [100, 20, 4],
    read: readApiPod,
    weigh: ({ facts }) => factsAsText(facts).length,
    lighten: withoutFacts,
  };
}

export interface PodsRequest extends ObjectsRequest {
  readonly nodeName: string;
}

/** All pods of the node; see {@link listObjects}. */
export async function listPods(
  request: PodsRequest,
  from: ListFrom,
  limits: ListLimits = LIST_LIMITS,
): Promise<PodList> {
  const { items, ...rest } = await listObjects(request, podsOfNode(request.nodeName), from, limits);
  return { pods: items, ...rest };
}
