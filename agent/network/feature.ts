// The network feature: pods keep their addresses. The lifecycle steps tell whose a sandbox is; the CNI plugin asks for its
// addresses and interfaces; what nobody takes back is collected on the schedule.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { HostTree } from '../host/host-tree.ts';
import type { Feature } from '../lifecycle/feature.ts';
import type { ContainerRuntime } from '../runtime/runtime.ts';
import { Attachments } from './attachments.ts';
import type { CniHandler } from './cni/request.ts';
import { Collector } from './collect.ts';
import type { LeaseContext, LeaseOptions } from './lease-context.ts';
import type { LeaseStore } from './lease-store.ts';
import { countHandover, createNetworkMetrics } from './metrics.ts';
import { Owners } from './owners.ts';
import type { OwnerRules } from './plan-owner.ts';
import type { PodLinks } from './pod-links.ts';
import type { Pool } from './pool.ts';

export interface NetworkOptions {
  /** No address is in two of them. */
  readonly pools: readonly Pool[];
  /** The pool of networks that name none. */
  readonly defaultPool: string | undefined;
  readonly leases: LeaseOptions;
  readonly owners: OwnerRules;
  /** Milliseconds that something must have been nobody's before it is collected. */
  readonly collectAfter: number;
}

export interface NetworkParts {
  readonly store: LeaseStore;
  /** This host's name among those that share the store. */
  readonly host: string;
  readonly links: PodLinks;
  readonly runtime: Pick<ContainerRuntime, 'listSandboxes' | 'sandboxStatus'>;
  readonly tree: HostTree;
  readonly logger: Logger;
  readonly registry: Registry;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a clock that is never set. */
  readonly monotonic: () => number;
  readonly options: NetworkOptions;
}

export interface Network extends Feature {
  readonly cni: CniHandler;
  /** Resolves when nothing is being removed any more. */
  close(): Promise<void>;
}

/** Builds the feature over its store; nothing is touched before somebody asks or `reconcile` looks. */
export function createNetwork({ store, host, now, registry, options, ...parts }: NetworkParts): Network {
  const { links, runtime, tree, logger, monotonic } = parts;
  const metrics = createNetworkMetrics(registry);
  const leases: LeaseContext = {
    store,
    host,
    pools: new Map(options.pools.map((pool) => [pool.name, pool] as const)),
    options: options.leases,
    now,
    hints: new Map(),
    onHandover: (handover) => {
      countHandover(metrics, handover);
      logger.info({ ...handover }, 'address handed over');
    },
  };
  const owners = new Owners(options.owners);
  const attachments = new Attachments({ leases, links, owners, defaultPool: options.defaultPool, logger });
  const collector = new Collector({
    leases,
    links,
    attachments,
    runtime,
    tree,
    logger,
    monotonic,
    graceMs: options.collectAfter,
    onCollected: (what) => metrics.collected.inc({ what }),
  });
  return {
    name: 'network',
    sandboxCreating: async ({ pod }) => {
      owners.expect(pod);
      return {};
    },
    podGone: async (uid) => owners.forget(uid),
    reconcile: (signal) => collector.collect(signal),
    cni: attachments,
    close: () => attachments.settled(),
  };
}
