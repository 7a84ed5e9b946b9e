// A node as the API server has it: its name and where its agent is to be found. Pure.
import { z } from 'zod';
import type { ObjectKind } from '../../agent/cluster/api-objects.ts';
import { HoldfastError } from '../../lib/errors.ts';
import type { Versioned } from './keyed-view.ts';

export interface ClusterNode extends Versioned {
  /** InternalIP; undefined while the node has none. */
  readonly host: string | undefined;
}

const nodeSchema = z.object({
  metadata: z.object({ name: z.string().min(1).max(253), resourceVersion: z.string().min(1).max(64) }),
  status: z
    .object({ addresses: z.array(z.object({ type: z.string(), address: z.string().max(253) })).nullish() })
    .nullish(),
});

/** @throws HoldfastError INVALID_REQUEST when it is no node */
export function readClusterNode(value: unknown): ClusterNode {
  const parsed = nodeSchema.safeParse(value);
  if (!parsed.success) throw new HoldfastError('INVALID_REQUEST', 'an object of the API server is not a node');
  const { metadata, status } = parsed.data;
  const internal = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  return { key: metadata.name, resourceVersion: metadata.resourceVersion, host: internal };
}

/** `10.0.0.1:9570`, `[fd00::1]:9570` */
export function agentAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** @param selector - of labels; empty for all nodes */
export function clusterNodes(selector: string): ObjectKind<ClusterNode> {
  return {
    path: '/api/v1/nodes',
    parameters: selector === '' ? {} : { labelSelector: selector },
    listKind: 'NodeList',
    what: 'nodes',
    pageSizes: [250, 50, 10],
    read: readClusterNode,
    weigh: ({ key, host }) => key.length + (host?.length ?? 0),
    lighten: (item) => item,
  };
}
