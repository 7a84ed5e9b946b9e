// Joins what is needed to give pods up: who was refused, how the cluster is told, and when the agent looks.
import type { Logger } from 'pino';
import { Counter, type Registry as MetricsRegistry } from 'prom-client';
import { openPodEnder } from '../cluster/end-pod.ts';
import { apiCredentials } from '../cluster/open-pod-source.ts';
import type { PodSource } from '../cluster/pod-source.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { HostTree } from '../host/host-tree.ts';
import type { Feature } from '../lifecycle/feature.ts';
import { GiveUp } from '../lifecycle/give-up.ts';
import type { LifecycleLocks } from '../lifecycle/locks.ts';
import type { Refusals } from '../lifecycle/refusals.ts';
import type { Registry } from '../lifecycle/registry.ts';

export interface GivingUpOptions {
  readonly config: AgentConfig;
  readonly tree: HostTree;
  readonly podSource: PodSource;
  readonly features: readonly Feature[];
  readonly registry: Registry;
  readonly locks: LifecycleLocks;
  readonly refusals: Refusals;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
}

/** @returns one look at what was refused; undefined where the configuration gives no pod up */
export function buildGivingUp(options: GivingUpOptions): ((signal: AbortSignal) => Promise<void>) | undefined {
  const { config, tree, metrics, ...rest } = options;
  const { giveUpAfter, giveUpBy } = config.refusal;
  const credentials = apiCredentials(config.podSource.api, tree);
  if (giveUpAfter === 'off' || credentials === undefined) return undefined;
  const counter = new Counter({
    name: 'holdfast_pods_given_up_total',
    help: 'Pods without room on this node that were ended in the cluster, or should have been.',
    labelNames: ['result'],
    registers: [metrics],
  });
  const giveUp = new GiveUp({
    ...rest,
    afterMs: giveUpAfter,
    openCluster: (signal) => openPodEnder(credentials, { by: giveUpBy }, signal),
    onGivenUp: (result) => counter.inc({ result }),
  });
  return (signal) => giveUp.giveUpWhereDue(signal);
}
