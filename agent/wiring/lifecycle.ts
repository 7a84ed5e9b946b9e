// The pipeline of lifecycle steps and what stands beside it, built over the features.
import { Counter, type Registry as MetricsRegistry } from 'prom-client';
import type { AgentConfig } from '../config/schema.ts';
import type { Feature } from '../lifecycle/feature.ts';
import { Holdings } from '../lifecycle/holdings.ts';
import { LifecycleLocks } from '../lifecycle/locks.ts';
import { Pipeline } from '../lifecycle/pipeline.ts';
import type { PolicyRules } from '../lifecycle/plan-policy.ts';
import { Refusals } from '../lifecycle/refusals.ts';
import { Registry } from '../lifecycle/registry.ts';
import { Subjects } from '../lifecycle/subjects.ts';
import { Upkeep } from '../lifecycle/upkeep.ts';
import { buildGivingUp } from './giving-up.ts';
import type { WiringOptions } from './options.ts';
import type { Outside } from './outside.ts';

/** A pod's address is the network's business alone: it is not in the policy that is stamped on containers. */
function withoutIp({ ip: _ip, ...others }: AgentConfig['policy']['defaults']): PolicyRules['defaults'] {
  return others;
}

export function buildLifecycle(
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
    onDenied: config.policy.onDenied,
    defaults: withoutIp(config.policy.defaults),
    namespaces: new Map(
      Object.entries(config.policy.namespaces).map(([name, { defaults, deny }]) => {
        return [name, { defaults: withoutIp(defaults), deny }] as const;
      }),
    ),
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
  const pipeline = new Pipeline({ features, registry, subjects, holdings, locks, runtime, logger, refusals });
  const onFailure = (feature: string): void => failures.inc({ feature });
  const upkeep = new Upkeep({ features, registry, holdings, runtime, podSource, logger, onFailure });
  const giveUp = buildGivingUp({ config, tree, podSource, features, registry, locks, refusals, metrics, logger });
  return { pipeline, upkeep, policyRules, giveUp };
}
