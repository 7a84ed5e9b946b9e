// The network feature with its store, its socket for the CNI plugin and the host's interfaces; nothing of it without pools
// in the configuration.
import { join } from 'node:path';
import type { Registry as MetricsRegistry } from 'prom-client';
import { describeError } from '../../lib/errors.ts';
import { failpointFromEnvironment } from '../../lib/failpoint.ts';
import { type CniServer, serveCni } from '../api/cni-server.ts';
import type { AgentConfig } from '../config/schema.ts';
import { createPodLinks } from '../host/network/create-pod-links.ts';
import { ensureMasquerade } from '../host/network/masquerade.ts';
import { lookAtNamespaces } from '../host/network/namespace-users.ts';
import { planMasquerade } from '../host/network/plan-masquerade.ts';
import { formatSubnet } from '../model/address.ts';
import { createNetwork, type Network, type NetworkOptions } from '../network/feature.ts';
import { instanceOf } from '../network/instance.ts';
import { type Pool, poolSubnet } from '../network/pool.ts';
import { EventLog } from '../state/event-log.ts';
import { openLeases } from './lease-store.ts';
import type { WiringOptions } from './options.ts';
import type { Outside } from './outside.ts';

/** What the runtime's plugin connects to. */
export const CNI_SOCKET = 'cni.sock';

export interface WiredNetwork {
  readonly feature: Network;
  serve(): Promise<void>;
  /** Takes no more calls; those that are under way have `graceMs` milliseconds left. */
  stopServing(graceMs: number): Promise<void>;
  /** When nobody uses the feature any more. */
  close(): Promise<void>;
}

function poolsOf({ pools }: AgentConfig['network']): readonly Pool[] {
  return Object.entries(pools).map(([name, { subnets, routes }]) => ({
    name,
    subnets: subnets.map(({ cidr, gateway, ranges, exclude }) =>
      poolSubnet({ subnet: cidr, gateway, ranges, exclude }),
    ),
    routes: routes.map(({ to, via }) => ({ destination: formatSubnet(to), via })),
  }));
}

/** Once begun without rules there is nothing to look after. */
function masqueradeOf({ pools }: AgentConfig['network']): (signal: AbortSignal) => Promise<boolean> {
  const masqueraded = Object.entries(pools).filter(([, { masquerade }]) => masquerade);
  const ruleset = planMasquerade(
    masqueraded.map(([name, { subnets }]) => ({ name, subnets: subnets.map(({ cidr }) => cidr) })),
  );
  let isClear = false;
  return async (signal) => {
    if (isClear) return false;
    const changed = await ensureMasquerade(ruleset, signal);
    isClear = ruleset.rules === 0;
    return changed;
  };
}

function optionsOf({ network, policy }: AgentConfig): NetworkOptions {
  const pools = poolsOf(network);
  const [only, ...others] = pools;
  const { keepFor, reserve, cooldown, collectAfter, appLabel } = network;
  return {
    pools,
    defaultPool: network.defaultPool ?? (others.length === 0 ? only?.name : undefined),
    leases: { keepFor, reserve: { cap: reserve.cap, keepFor: reserve.keepFor }, cooldown },
    owners: {
      appLabel,
      defaultIp: policy.defaults.ip ?? 'none',
      byNamespace: new Map(
        Object.entries(policy.namespaces).flatMap(([name, { defaults }]) =>
          defaults.ip === undefined ? [] : [[name, defaults.ip] as const],
        ),
      ),
    },
    collectAfter,
  };
}

/** @returns undefined where the configuration has no pools */
export async function buildNetwork(
  { config, logger }: WiringOptions,
  { store, tree, runtime, podSource }: Outside,
  metrics: MetricsRegistry,
): Promise<WiredNetwork | undefined> {
  const options = optionsOf(config);
  if (options.pools.length === 0) return undefined;
  const audit = new EventLog({
    path: join(config.paths.state, 'audit', 'addresses.jsonl'),
    onProblem: (error) => logger.warn({ error: describeError(error) }, 'audit of addresses'),
  });
  const failpoint = failpointFromEnvironment(process.env);
  const links = await createPodLinks({ owner: await instanceOf(store) });
  const leases = await openLeases({ config, logger }, { store, tree });
  const feature = createNetwork({
    store: leases.store,
    sharing: leases.sharing,
    host: config.nodeName,
    links,
    ensureMasquerade: masqueradeOf(config.network),
    runtime,
    lookAtNamespaces: (paths) => lookAtNamespaces(paths),
    podSource,
    logger,
    registry: metrics,
    audit,
    now: Date.now,
    monotonic: () => performance.now(),
    options,
    ...(failpoint && { failpoint }),
  });
  let server: CniServer | undefined;
  return {
    feature,
    serve: async () => {
      server = await serveCni({
        path: join(config.paths.run, CNI_SOCKET),
        handler: feature.cni,
        registry: metrics,
        logger,
      });
    },
    stopServing: async (graceMs) => server?.close(graceMs),
    close: async () => {
      await feature.close();
      await links.close();
      await leases.close();
      await audit.flush();
    },
  };
}
