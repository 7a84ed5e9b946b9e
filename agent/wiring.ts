// The one place where the agent's parts are built and joined; the larger of them are built in the folder beside it.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Registry as MetricsRegistry } from 'prom-client';
import { Changes } from '../lib/changes.ts';
import { describeError } from '../lib/errors.ts';
import { Admin } from '../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { Lifecycle } from '../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import { Topology } from '../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { PodResourcesLister } from '../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { adminHandlers } from './api/admin-service.ts';
import { recordCalls } from './api/call-metrics.ts';
import { implement } from './api/grpc-server.ts';
import { lifecycleHandlers } from './api/lifecycle-service.ts';
import { createRegistry, type MetricsServer, serveMetrics } from './api/metrics-server.ts';
import { type OnUnserved, recordUnserved } from './api/refusals.ts';
import { type AgentSockets, openSockets } from './api/sockets.ts';
import { TcpEndpoint } from './api/tcp-endpoint.ts';
import { topologyHandlers } from './api/topology-service.ts';
import { createTopologyView } from './api/topology-view.ts';
import { VersionReserve } from './api/version-reserve.ts';
import { configToPlain } from './config/format.ts';
import type { DecidePolicy } from './cpuset/plan-placement.ts';
import { groupId } from './host/groups.ts';
import type { Feature, StatusLine } from './lifecycle/feature.ts';
import { planPolicy } from './lifecycle/plan-policy.ts';
import { SHARED_MASK_FILE } from './model/shared-mask.ts';
import { type Job, oncePerBurst, startJob } from './schedule.ts';
import { readHostTopology } from './topology/read-topology.ts';
import { buildFeatures } from './wiring/features.ts';
import { buildInterfaces } from './wiring/interfaces.ts';
import { buildLifecycle } from './wiring/lifecycle.ts';
import { buildNetwork } from './wiring/network.ts';
import type { WiringOptions } from './wiring/options.ts';
import { openOutside, podSourceLine } from './wiring/outside.ts';

export interface WiredAgent {
  /** Opens the sockets; steps are answered UNAVAILABLE until {@link recover} has succeeded. */
  serve(): Promise<void>;
  recover(signal: AbortSignal): Promise<void>;
  startSchedules(): void;
  /** Ends everything in the reverse order; steps that are under way have `graceMs` milliseconds left. */
  close(graceMs: number): Promise<void>;
}

const MEASURE_CRON = '15 * * * * *';
/** Pods change in bursts, and a reconciliation looks at the whole host. */
const POD_CHANGES_MS = 1000;
/** Members of this group may read the topology. */
const TOPOLOGY_GROUP = 'holdfast';

/** Metrics are worth having, and nothing stops without them. */
async function openMetrics(
  { config, logger }: WiringOptions,
  metrics: MetricsRegistry,
  onUnserved: OnUnserved,
): Promise<MetricsServer | undefined> {
  if (config.metrics.address === 'off') return undefined;
  try {
    return await serveMetrics(metrics, config.metrics.address, (error) =>
      onUnserved('metrics', 'accept', describeError(error)),
    );
  } catch (error) {
    logger.warn({ error: describeError(error) }, 'going on without metrics');
    return undefined;
  }
}

/**
 * Builds the agent from its configuration. Reads the host and opens the store; changes nothing on the host yet.
 * @throws HoldfastError when the topology cannot be read or the state directory cannot be used
 */
export async function wireAgent(options: WiringOptions): Promise<WiredAgent> {
  const { config, version, logger, shutdown } = options;
  const startedAt = new Date();
  const metrics = createRegistry();
  const outside = await openOutside(options, metrics);
  const { store, podSource, runtime } = outside;
  const versions = new VersionReserve({
    store,
    now: Date.now,
    onProblem: (error) => logger.warn({ error: describeError(error) }, 'topology versions could not be reserved'),
  });
  versions.use(versions.first);
  await versions.settled();
  const changes = new Changes({ first: versions.first, onVersion: (version) => versions.use(version) });
  const { cpuset, reuse } = buildFeatures(options, outside, metrics, changes);
  const network = await buildNetwork(options, outside, metrics);
  // The layer is handed over last: whatever can still refuse a container comes before it. Turned off, cpuset leaves every
  // cgroup alone; reuse still looks after the layers that it has, and no pod gets a new one.
  const features: readonly Feature[] = [
    ...(network === undefined ? [] : [network.feature]),
    ...(config.cpuset.enabled ? [cpuset] : []),
    reuse,
  ];
  if (!config.cpuset.enabled) await rm(join(config.paths.run, SHARED_MASK_FILE), { force: true });
  const { pipeline, upkeep, policyRules, giveUp } = buildLifecycle(options, outside, features, metrics);
  let runtimeName = 'runtime not seen yet';
  let sockets: AgentSockets | undefined;
  let metricsServer: MetricsServer | undefined;
  const jobs: Job[] = [];
  const onFinished = recordCalls(metrics, logger);
  const onUnserved = recordUnserved(metrics, logger);
  const tcp = new TcpEndpoint({ config: config.topologyApi, logger, metrics, onFinished, signal: shutdown });

  const status = (): readonly StatusLine[] => [
    podSourceLine(outside),
    ...tcp.status(),
    ...interfaces.status(),
    ...features.flatMap((feature) => feature.status?.() ?? []),
  ];
  const placing = config.cpuset.enabled ? cpuset : undefined;
  const decidePolicy: DecidePolicy = (namespace, annotations) => planPolicy(namespace, annotations, policyRules).policy;
  const view = createTopologyView({
    nodeName: config.nodeName,
    topology: outside.topology,
    placing,
    changes,
    decidePolicy,
  });
  const requireKnown = (): void => {
    if (placing !== undefined) upkeep.requireRecovered();
  };
  /** CPUs go offline and come online; the kernel tells nobody, so the host is read again. */
  const refreshTopology = async (signal: AbortSignal): Promise<void> => {
    const { topology } = await readHostTopology(config.paths.hostRoot, signal);
    await view.replace(topology);
  };
  const interfaces = buildInterfaces({
    config,
    view,
    requireKnown,
    changes,
    metrics,
    logger,
  });
  const admin = adminHandlers({
    version,
    nodeName: config.nodeName,
    startedAt,
    runtime: () => runtimeName,
    status,
    layers: reuse.admin,
    addresses: network?.feature.admin,
    stateJson: () => JSON.stringify(store.dump()),
    configJson: () => JSON.stringify(configToPlain(config)),
  });

  const job = (name: string, cron: string, run: (signal: AbortSignal) => Promise<void>): Job => {
    const started = startJob({
      name,
      cron,
      run,
      signal: shutdown,
      onFinished: ({ error }) => {
        if (error !== undefined)
          logger.warn({ job: name, error: describeError(error) }, 'job failed; trying again later');
      },
    });
    jobs.push(started);
    return started;
  };

  return {
    serve: async () => {
      metricsServer = await openMetrics(options, metrics, onUnserved);
      sockets = await openSockets({
        directory: config.paths.run,
        agentServices: [implement(Lifecycle, lifecycleHandlers(pipeline, upkeep)), implement(Admin, admin)],
        topologyServices: [implement(Topology, topologyHandlers(view, changes, requireKnown))],
        podResourcesServices: [implement(PodResourcesLister, interfaces.podResources)],
        topologyGroupId: await groupId(TOPOLOGY_GROUP),
        tcp,
        onFinished,
        onUnserved,
      });
      await network?.serve();
    },
    recover: async (signal) => {
      const { name, version } = await runtime.version(signal);
      runtimeName = `${name} ${version}`;
      await upkeep.recover(signal);
      sockets?.setServing(true);
    },
    startSchedules: () => {
      interfaces.start();
      const reconciling = job('reconcile', config.schedules.reconcile, (signal) => upkeep.reconcile(signal));
      if (giveUp !== undefined) job('give-up', config.schedules.reconcile, giveUp);
      podSource.onChange(oncePerBurst(POD_CHANGES_MS, () => void reconciling.now()));
      job('measure', MEASURE_CRON, (signal) => reuse.measure(signal));
      job('topology', config.schedules.topology, refreshTopology);
      job('report', config.schedules.report, async () => {
        logger.info({ status: status().map(({ subject, level, text }) => `${subject} ${level}: ${text}`) }, 'report');
      });
    },
    close: async (graceMs) => {
      await Promise.all([sockets?.close(graceMs), network?.stopServing(graceMs)]);
      await Promise.all([interfaces.close(), ...jobs.map((each) => each.stopped())]);
      await cpuset.close();
      await network?.close();
      await metricsServer?.close();
      podSource.close();
      runtime.close();
      await versions.settled();
      await store.close();
    },
  };
}
