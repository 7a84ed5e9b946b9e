// The interfaces of others that the agent fills beside its own: the kubelet's podresources API, and NodeResourceTopology.
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Changes } from '../../lib/changes.ts';
import type { PodResourcesLister } from '../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import type { Handlers } from '../api/handlers.ts';
import { podResourcesHandlers, podResourcesLine } from '../api/pod-resources-service.ts';
import type { TopologyView } from '../api/topology-view.ts';
import { ApiCredentials } from '../cluster/api-access.ts';
import { openKubeletPodResources } from '../cluster/kubelet-pod-resources.ts';
import { type PublishedObject, publishNodeResourceTopology } from '../cluster/publish-node-resource-topology.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { StatusLine } from '../lifecycle/feature.ts';
import { planNodeResourceTopology, policyFor } from '../published/plan-node-resource-topology.ts';
import type { Snapshot } from '../published/snapshot.ts';

export interface InterfacesOptions {
  readonly config: AgentConfig;
  readonly view: Pick<TopologyView, 'snapshot'>;
  /** Throws while it is not yet known what pods hold: everything would look free. */
  readonly requireKnown: () => void;
  readonly changes: Changes;
  readonly metrics: Registry;
  readonly logger: Logger;
}

export interface Interfaces {
  readonly podResources: Handlers<typeof PodResourcesLister>;
  /** Begins to publish. */
  start(): void;
  status(): readonly StatusLine[];
  close(): Promise<void>;
}

const NRT_SUBJECT = 'node resource topology';

/** @throws what `requireKnown` throws */
function knownSnapshot({ view, requireKnown }: InterfacesOptions): Snapshot {
  requireKnown();
  return view.snapshot();
}

/** @returns how to start publishing; undefined where the configuration wants no object, or there is nothing to say */
function nodeResourceTopology(options: InterfacesOptions): (() => PublishedObject) | undefined {
  const { config, changes, metrics, logger } = options;
  const setting = config.nodeResourceTopology;
  if (setting === 'off' || !config.cpuset.enabled) return undefined;
  const policy = setting.policy ?? policyFor(config.policy.defaults.numa);
  const reservedMemoryBytes = BigInt(config.numa.reservedMemory);
  return () =>
    publishNodeResourceTopology({
      credentials: new ApiCredentials(async () => setting.kubeconfig),
      nodeName: config.nodeName,
      plan: (nodeUid) => planNodeResourceTopology(knownSnapshot(options), { policy, reservedMemoryBytes, nodeUid }),
      versions: changes,
      metrics,
      logger,
    });
}

function nodeResourceTopologyLines(config: AgentConfig, published: PublishedObject | undefined): readonly StatusLine[] {
  if (config.nodeResourceTopology === 'off') return [];
  if (!config.cpuset.enabled) {
    const text = 'no object is written: cpuset.enabled is false, so there is nothing to say';
    return [{ subject: NRT_SUBJECT, level: 'warning', text }];
  }
  const view = published?.status() ?? ({ level: 'ok', text: 'not begun yet' } as const);
  return [{ subject: NRT_SUBJECT, ...view }];
}

/** Opens the connections lazily: nothing is asked and nothing written before {@link Interfaces.start}. */
export function buildInterfaces(options: InterfacesOptions): Interfaces {
  const { config, metrics, logger } = options;
  const { kubelet: socket } = config.podResources;
  const kubelet =
    socket === 'off'
      ? undefined
      : openKubeletPodResources({ socket: join(config.paths.hostRoot, socket), metrics, logger });
  const publish = nodeResourceTopology(options);
  let published: PublishedObject | undefined;
  return {
    podResources: podResourcesHandlers({
      snapshot: config.cpuset.enabled ? () => knownSnapshot(options) : undefined,
      kubelet,
      reservedMemory: config.numa.reservedMemory,
    }),
    start: () => {
      published ??= publish?.();
    },
    status: () => [podResourcesLine(kubelet), ...nodeResourceTopologyLines(config, published)],
    close: async () => {
      await published?.close();
      kubelet?.close();
    },
  };
}
