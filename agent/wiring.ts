// The one place where the agent's parts are built and joined.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Counter, type Registry as MetricsRegistry } from 'prom-client';
import { describeError } from '../lib/errors.ts';
import { failpointFromEnvironment } from '../lib/failpoint.ts';
import { Admin } from '../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { Lifecycle } from '../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';
import { Topology } from '../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { PodResourcesLister } from '../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { adminHandlers } from './api/admin-service.ts';
import { recordCalls } from './api/call-metrics.ts';
import { Changes } from './api/changes.ts';
import { implement } from './api/grpc-server.ts';
import { lifecycleHandlers } from './api/lifecycle-service.ts';
import { createRegistry, type MetricsServer, serveMetrics } from './api/metrics-server.ts';
import { type AgentSockets, openSockets } from './api/sockets.ts';
import { TcpEndpoint } from './api/tcp-endpoint.ts';
import { topologyHandlers } from './api/topology-service.ts';
import { createTopologyView } from './api/topology-view.ts';
import { VersionReserve } from './api/version-reserve.ts';
import { readKubeletConfig } from './cluster/kubelet-config.ts';
import { openPodSource } from './cluster/open-pod-source.ts';
import { configToPlain } from './config/format.ts';
import type { AgentConfig } from './config/schema.ts';
import { createCpuset } from './cpuset/feature.ts';

import type { DecidePolicy } from './cpuset/plan-placement.ts';

import { buildGivingUp } from './giving-up.ts';

import { openCgroups } from './host/cgroupfs.ts';
import { groupId } from './host/groups.ts';
import { openHostTree } from './host/host-tree.ts';
import { replaceFile } from './host/replace-file.ts';
import { buildInterfaces } from './interfaces.ts';
import type { Feature, StatusLine } from './lifecycle/feature.ts';
import { Holdings } from './lifecycle/holdings.ts';
import { LifecycleLocks } from './lifecycle/locks.ts';
import { Pipeline } from './lifecycle/pipeline.ts';

import { type PolicyRules, planPolicy } from './lifecycle/plan-policy.ts';
import { Refusals } from './lifecycle/refusals.ts';

import { Registry } from './lifecycle/registry.ts';
import { Subjects } from './lifecycle/subjects.ts';
import { Upkeep } from './lifecycle/upkeep.ts';
import { CpuSet } from './model/cpu-set.ts';
import { formatSharedMask, SHARED_MASK_FILE } from './model/shared-mask.ts';
import { createReuse } from './reuse/feature.ts';
import { openRuntime } from './runtime/containerd.ts';
import { type Job, oncePerBurst, startJob } from './schedule.ts';
import { openStore } from './state/open-store.ts';
import { readHostTopology } from './topology/read-topology.ts';

export interface WiringOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly logger: Logger;
  /** Ends every wait of the agent. */
  readonly shutdown: AbortSignal;
}

export interface WiredAgent {
  /** Opens the sockets; steps are answered UNAVAILABLE until {@link recover} has succeeded. */
  serve(): Promise<void>;
  recover(signal: AbortSignal): Promise<void>;
  startSchedules(): void;
  /** Ends everything in the reverse order; steps that are under way have `graceMs` milliseconds left. */
  close(graceMs: number): Promise<void>;
}

/** Layers are measured again after this long; a walk through one costs the disk something. */
const MEASURE_INTERVAL_MS = 60_000;
const MEASURE_CRON = '15 * * * * *';
/** Pods change in bursts, and a reconciliation looks at the whole host. */
const POD_CHANGES_MS = 1000;
/** Members of this group may read the topology. */
const TOPOLOGY_GROUP = 'holdfast';

/** What lies outside the agent, opened. */
async function openOutside({ config, logger, shutdown }: WiringOptions, metrics: MetricsRegistry) {
  const tree = await openHostTree(config.paths.hostRoot);
  const kubelet = await readKubeletConfig(tree, shutdown);
  const { topology, remarks } = await readHostTopology(config.paths.hostRoot, shutdown);
  for (const remark of remarks) logger.warn({}, remark);
  const cgroups = await openCgroups(config.paths.hostRoot);
  await mkdir(config.paths.run, { recursive: true, mode: 0o755 });
  // From here on things are open that keep the process alive: what can fail comes before.
  const { store, recovery } = await openStore({
    directory: join(config.paths.state, 'state'),
    onProblem: (error) => logger.error({ error: describeError(error) }, 'state store'),
  });
  if (recovery !== undefined) logger.error({ ...recovery }, 'the state was damaged and is being rebuilt');
  const { staticManifests } = config.podSource;
  const podSource = await openPodSource({
    api: config.podSource.api,
    file: config.podSource.file,
    staticManifests: staticManifests === 'off' ? undefined : (staticManifests ?? kubelet?.staticPodPath),
    nodeName: config.nodeName,
    tree,
    metrics,
    logger,
  });
  const runtime = openRuntime({ endpoint: config.runtime.endpoint, logger });
  return { tree, kubelet, topology, cgroups, store, recovered: recovery !== undefined, podSource, runtime };
}

type Outside = Awaited<ReturnType<typeof openOutside>>;

function buildFeatures(
  { config, logger }: WiringOptions,
  outside: Outside,
  metrics: MetricsRegistry,
  changes: Changes,
) {
  const failpoint = failpointFromEnvironment(process.env);
  const { runtime, store, podSource, tree, topology, cgroups, kubelet } = outside;
  const shared = { runtime, store, logger, registry: metrics, now: Date.now, ...(failpoint && { failpoint }) };
  const cpuset = createCpuset({
    ...shared,
    topology,
    cgroups,
    options: {
      strategy: config.numa.strategy,
      unboundMemory: config.numa.unboundMemory,
      reservedMemory: config.numa.reservedMemory,
      reservedCpus: config.cpuset.reservedCpus ?? kubelet?.reservedSystemCpus ?? CpuSet.EMPTY,
    },
    publishMask: (mask) => replaceFile(join(config.paths.run, SHARED_MASK_FILE), formatSharedMask(mask), 0o644),
    onChange: () => changes.announce(),
  });
  const reuse = createReuse({
    ...shared,
    podSource,
    tree,
    recovered: outside.recovered,
    options: {
      budgetBytes: config.reuse.budget,
      maxAgeMs: config.reuse.maxAge,
      fastFailures: { limit: config.reuse.fastFailures.limit, withinMs: config.reuse.fastFailures.within },
      measureIntervalMs: MEASURE_INTERVAL_MS,
    },
  });
  return { cpuset, reuse };
}

function buildLifecycle(
  { config, logger }: WiringOptions,
  { tree, runtime, podSource }: Outside,
  features: readonly Feature[],
  metrics: MetricsRegistry,
) {
  const ended = new Counter({
    name: 'holdfast_holdings_ended_total',
    help: 'Pods whose CPUs, memory and layers were given back, by why.',
    labelNames: ['why'],
    registers: [metrics],
  });
  const failures = new Counter({
    name: 'holdfast_reconcile_failures_total',
    help: 'Times a feature could not find or repair drift.',
    labelNames: ['feature'],
    registers: [metrics],
  });
  const registry = new Registry();
  const locks = new LifecycleLocks();
  const policyRules: PolicyRules = {
    ...config.policy,
    namespaces: new Map(Object.entries(config.policy.namespaces)),
    turnedOff: [
      ...(config.reuse.enabled ? [] : (['reuse'] as const)),
      ...(config.cpuset.enabled ? [] : (['exclusive', 'required'] as const)),
    ],
  };
  const holdings = new Holdings({
    features,
    registry,
    podSource,
    gracePeriodMs: config.holdings.gracePeriod,
    now: Date.now,
    logger,
    locks,
    onEnded: (why) => ended.inc({ why }),
  });
  const subjects = new Subjects({ registry, runtime, podSource, policyRules, logger });
  const refusals = new Refusals();
  const now = Date.now;
  const pipeline = new Pipeline({ features, registry, subjects, holdings, locks, runtime, logger, refusals, now });
  const onFailure = (feature: string): void => failures.inc({ feature });
  const upkeep = new Upkeep({ features, registry, holdings, runtime, podSource, logger, onFailure });
  const giveUp = buildGivingUp({ config, tree, podSource, features, registry, refusals, metrics, logger });
  return { pipeline, upkeep, policyRules, giveUp };
}

/** The pod source's own line of `holdfast status`. */
function podSourceLine({ podSource }: Outside): StatusLine {
  const { name, ageMs, problem } = podSource.status();
  const age = `${name}, ${Math.round(ageMs / 1000)} s old`;
  if (problem !== undefined) return { subject: 'pod source', level: 'warning', text: `${age}: ${problem}` };
  return { subject: 'pod source', level: 'ok', text: name === 'none' ? 'none: see docs/podsource.md' : age };
}

/** Metrics are worth having, and nothing stops without them. */
async function openMetrics(
  { config, logger }: WiringOptions,
  metrics: MetricsRegistry,
): Promise<MetricsServer | undefined> {
  if (config.metrics.address === 'off') return undefined;
  try {
    return await serveMetrics(metrics, config.metrics.address);
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
  // The layer is handed over last: whatever can still refuse a container comes before it. Turned off, cpuset leaves every
  // cgroup alone; reuse still looks after the layers that it has, and no pod gets a new one.
  const features: readonly Feature[] = config.cpuset.enabled ? [cpuset, reuse] : [reuse];
  if (!config.cpuset.enabled) await rm(join(config.paths.run, SHARED_MASK_FILE), { force: true });
  const { pipeline, upkeep, policyRules, giveUp } = buildLifecycle(options, outside, features, metrics);
  let runtimeName = 'runtime not seen yet';
  let sockets: AgentSockets | undefined;
  let metricsServer: MetricsServer | undefined;
  const jobs: Job[] = [];
  const onFinished = recordCalls(metrics, logger);
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
      metricsServer = await openMetrics(options, metrics);
      sockets = await openSockets({
        directory: config.paths.run,
        agentServices: [implement(Lifecycle, lifecycleHandlers(pipeline, upkeep)), implement(Admin, admin)],
        topologyServices: [implement(Topology, topologyHandlers(view, changes, requireKnown))],
        podResourcesServices: [implement(PodResourcesLister, interfaces.podResources)],
        topologyGroupId: await groupId(TOPOLOGY_GROUP),
        tcp,
        onFinished,
      });
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
      await sockets?.close(graceMs);
      await Promise.all([interfaces.close(), ...jobs.map((each) => each.stopped())]);
      await cpuset.close();
      await metricsServer?.close();
      podSource.close();
      runtime.close();
      await versions.settled();
      await store.close();
    },
  };
}
