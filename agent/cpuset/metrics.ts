// What the feature counts.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface CpusetMetrics {
  readonly refusals: Counter<'code'>;
  readonly moves: Counter;
  readonly repairs: Counter<'what'>;
  readonly failures: Counter<'what'>;
  readonly planning: Histogram;
  readonly clearing: Histogram;
}

/** What the gauges show, asked for at each scrape. */
export interface CpusetGauges {
  exclusiveCpus(): number;
  sharedCpus(): number;
  contestedCpus(): number;
  untold(): number;
}

/** Seconds: a plan takes microseconds, moving neighbours milliseconds. */
const BUCKETS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

function gauge(registers: Registry[], name: string, help: string, value: () => number): void {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(value());
    },
  });
}

export function registerMetrics(registry: Registry, gauges: CpusetGauges): CpusetMetrics {
  const registers = [registry];
  gauge(registers, 'holdfast_cpuset_exclusive_cpus', 'CPUs that pods own', () => gauges.exclusiveCpus());
  gauge(registers, 'holdfast_cpuset_shared_cpus', 'CPUs in the shared pool', () => gauges.sharedCpus());
  gauge(
    registers,
    'holdfast_cpuset_contested_cpus',
    'CPUs in the shared pool that have an owner, because the host has no others left; 0 is as it should be',
    () => gauges.contestedCpus(),
  );
  gauge(registers, 'holdfast_cpuset_untold_containers', 'Containers whose CPUs the runtime is still to be told', () =>
    gauges.untold(),
  );
  return {
    refusals: new Counter({
      name: 'holdfast_cpuset_refusals_total',
      help: 'Pods and containers that were refused',
      labelNames: ['code'],
      registers,
    }),
    moves: new Counter({
      name: 'holdfast_cpuset_moves_total',
      help: 'Cgroups that were moved because the shared pool changed',
      registers,
    }),
    repairs: new Counter({
      name: 'holdfast_cpuset_repairs_total',
      help: 'Cgroups that something else had changed (cpus, mems) or that were throttled (quota)',
      labelNames: ['what'],
      registers,
    }),
    failures: new Counter({
      name: 'holdfast_cpuset_failures_total',
      help: 'What could not be done: writing a cgroup, telling the runtime, editing a spec, publishing the mask, deleting old records',
      labelNames: ['what'],
      registers,
    }),
    planning: new Histogram({
      name: 'holdfast_cpuset_planning_seconds',
      help: 'Planning one pod or container, without the disk',
      buckets: BUCKETS,
      registers,
    }),
    clearing: new Histogram({
      name: 'holdfast_cpuset_clearing_seconds',
      help: 'Moving the neighbours of an exclusive container before it starts',
      buckets: BUCKETS,
      registers,
    }),
  };
}
