// Divides the CPUs of a pod among its containers. Pure.
import { CpuSet } from '../model/cpu-set.ts';
import type { ContainerHolding, PodHolding } from './holding.ts';
import type { Domain, Machine } from './machine.ts';
import { planExclusive } from './plan-exclusive.ts';

/** `count` CPUs out of `from`, whole cores and one node first; all of them when there are no more. */
export function allot(machine: Machine, from: CpuSet, count: number): CpuSet {
  if (from.size <= count) return from;
  const free = new Uint8Array(machine.cpuIds.length);
  for (const cpu of from) {
    const position = machine.positions.get(cpu);
    if (position !== undefined && machine.allocatable[position] === 1) free[position] = 1;
  }
  const parts = machine.nodes.map((node) => node.domain);
  const all: Domain = { cores: parts.flatMap((part) => part.cores), parts };
  const picked = planExclusive(machine, all, free, count);
  return CpuSet.from((picked ?? []).map((position) => machine.cpuIds[position] ?? -1));
}

/** Whether two containers of a pod can run at the same time: init containers are over before the app containers begin. */
export function runTogether(a: ContainerHolding['kind'], b: ContainerHolding['kind']): boolean {
  return a === 'sidecar' || b === 'sidecar' || (a === 'app' && b === 'app');
}

/** The pod's CPUs that a container of that kind may use: those that none which runs beside it has. */
export function reusableCpus(holding: PodHolding, name: string, kind: ContainerHolding['kind']): CpuSet {
  let cpus = holding.cpus;
  for (const [other, { kind: otherKind, cpus: taken }] of holding.containers) {
    if (other !== name && runTogether(kind, otherKind)) cpus = cpus.minus(taken);
  }
  return cpus;
}
