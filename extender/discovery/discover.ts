// Follows the cluster: its nodes, whose agents are connected to, and its pods, which are subtracted where they are bound.
import type { Logger } from 'pino';
import { ApiCredentials } from '../../agent/cluster/api-access.ts';
import type { ListLimits, ObjectKind } from '../../agent/cluster/api-objects.ts';
import { API_TIMES, type ApiTimes, type FollowObserver, followObjects } from '../../agent/cluster/follow-objects.ts';
import type { AgentEndpoint } from '../agents/connect.ts';
import { agentAddress, type ClusterNode, clusterNodes } from './cluster-node.ts';
import { CLUSTER_PODS, type ClusterPod } from './cluster-pod.ts';
import { InSlices } from './in-slices.ts';
import { type KeyedListener, KeyedView, type Versioned } from './keyed-view.ts';

export interface DiscoverOptions {
  /** Path of a kubeconfig. */
  readonly kubeconfig: string;
  /** Of the nodes whose agents are followed; empty: of all. */
  readonly nodeSelector: string;
  /** Of the agents. */
  readonly port: number;
  readonly onEndpoints: (endpoints: readonly AgentEndpoint[]) => void;
  readonly pods: KeyedListener<ClusterPod>;
  readonly observer: FollowObserver;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly times?: ApiTimes;
}

/** 5,000 nodes with 110 pods each, and as much again. */
const POD_LIMITS: ListLimits = {
  items: 1_100_000,
  unreadable: 1000,
  characters: 1024 * 1024 * 1024,
  totalMs: 10 * 60_000,
};
const NODE_LIMITS: ListLimits = { items: 20_000, unreadable: 100, characters: 16 * 1024 * 1024, totalMs: 10 * 60_000 };

export interface Discovery {
  /** Nodes and pods were listed once. */
  readonly isComplete: () => boolean;
  /** Resolves when both watches have ended, after the signal. */
  readonly ended: Promise<void>;
}

export function discover(options: DiscoverOptions): Discovery {
  const { kubeconfig, nodeSelector, port, onEndpoints, pods, observer, logger, signal, times = API_TIMES } = options;
  const credentials = new ApiCredentials(async () => kubeconfig);
  const hosts = new Map<string, string>();
  const nodeView = new KeyedView<ClusterNode>({
    onItem: ({ key, host }) => void (host === undefined ? hosts.delete(key) : hosts.set(key, host)),
    onGone: (key) => void hosts.delete(key),
  });
  const slices = new InSlices(pods);
  const podView = new KeyedView<ClusterPod>(slices);
  const follow = async <Item extends Versioned>(
    kind: ObjectKind<Item>,
    limits: ListLimits,
    view: KeyedView<Item>,
    onChange: () => void,
  ): Promise<void> => {
    let told: string | undefined;
    await followObjects({
      credentials,
      kind,
      limits,
      view,
      times,
      observer,
      signal,
      onChange,
      onAlive: () => {
        told = undefined;
      },
      onProblem: (problem) => {
        if (problem !== told)
          logger.warn({ what: kind.what, problem }, 'the API server cannot be followed; trying again');
        told = problem;
      },
    });
  };
  const tell = (): void => {
    onEndpoints([...hosts].map(([node, host]) => ({ node, address: agentAddress(host, port) })));
  };
  const watches = [
    follow(clusterNodes(nodeSelector), NODE_LIMITS, nodeView, tell),
    follow(CLUSTER_PODS, POD_LIMITS, podView, () => undefined),
  ];
  return {
    isComplete: () => nodeView.resourceVersion !== undefined && podView.resourceVersion !== undefined && slices.isIdle,
    ended: Promise.all(watches).then(() => undefined),
  };
}
