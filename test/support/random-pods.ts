// Pods at random, for tests of what plans them: as the Kubernetes API has them, and what the planner is asked.
import fc from 'fast-check';
import { podUid } from '../../agent/model/ids.ts';
import type { ContainerSpec, PodFacts } from '../../agent/model/pod.ts';
import { bytes, milliCpu } from '../../agent/model/quantity.ts';
import { isImpossible, type PodAsk, planAsk } from '../../extender/planning/plan-ask.ts';
import { GIB } from './hand-made-hosts.ts';
import { NO_POLICY_RULES } from './published-host.ts';

const PAGE = 2 * 1024 ** 2;

interface RandomContainer {
  readonly kind: ContainerSpec['kind'];
  readonly exclusive: boolean;
  readonly cpus: number;
  readonly memory: number | undefined;
  readonly pages: number;
  readonly own: 'none' | 'preferred' | 'required' | undefined;
}

const container: fc.Arbitrary<RandomContainer> = fc.record({
  kind: fc.constantFrom('app' as const, 'app' as const, 'init' as const, 'sidecar' as const),
  exclusive: fc.boolean(),
  cpus: fc.integer({ min: 1, max: 6 }),
  memory: fc.constantFrom(undefined, GIB / 4, GIB, 3 * GIB),
  pages: fc.constantFrom(0, 0, 2, 6),
  own: fc.constantFrom(undefined, undefined, undefined, 'none' as const, 'preferred' as const, 'required' as const),
});

function specOf({ kind, exclusive, cpus, memory, pages }: RandomContainer, index: number): ContainerSpec {
  const cpu = milliCpu(exclusive ? cpus * 1000 : cpus * 250);
  return {
    name: `c${index}`,
    kind,
    cpuRequest: cpu,
    ...(exclusive ? { cpuLimit: cpu } : {}),
    ...(memory === undefined ? {} : { memoryRequest: bytes(memory) }),
    hugepages: new Map(pages === 0 ? [] : [[PAGE, bytes(pages * PAGE)]]),
  };
}

/** Pods of one to three containers, without UID and name. */
export const randomPod: fc.Arbitrary<Omit<PodFacts, 'uid' | 'name'>> = fc
  .record({
    numa: fc.constantFrom('none', 'preferred', 'required', 'required'),
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
  })
  .map(({ numa, containers }) => ({
    namespace: 'default',
    labels: new Map<string, string>(),
    annotations: new Map([
      ['holdfast.dev/numa', numa],
      ...containers.flatMap(({ exclusive, own }, index): [string, string][] => [
        ...(exclusive ? [[`c${index}.holdfast.dev/cpuset`, 'exclusive'] as [string, string]] : []),
        ...(own === undefined ? [] : [[`c${index}.holdfast.dev/numa`, own] as [string, string]]),
      ]),
    ]),
    containers: containers.map(specOf),
    deleting: false,
    finished: false,
  }));

export function named(pod: Omit<PodFacts, 'uid' | 'name'>, name: string): PodFacts {
  return { ...pod, uid: podUid(`uid-${name}`), name };
}

/** A pod of the API with one app container; its UID is its name. */
export function podFacts(
  name: string,
  annotations: Readonly<Record<string, string>>,
  container: Partial<ContainerSpec> = {},
): PodFacts {
  return {
    uid: podUid(name),
    namespace: 'default',
    name,
    labels: new Map(),
    annotations: new Map(Object.entries(annotations)),
    containers: [{ name: 'app', kind: 'app', hugepages: new Map(), ...container }],
    deleting: false,
    finished: false,
  };
}

export const REQUIRED_EXCLUSIVE = { 'holdfast.dev/numa': 'required', 'holdfast.dev/cpuset': 'exclusive' };

/** What a pod asks that must have all of its own CPUs and its memory from one NUMA node. */
export function exclusivePod(name: string, cpus: number, memory: number = GIB): PodAsk {
  const cpu = milliCpu(cpus * 1000);
  const need = { cpuRequest: cpu, cpuLimit: cpu, memoryRequest: bytes(memory) };
  const ask = planAsk(podFacts(name, REQUIRED_EXCLUSIVE, need), NO_POLICY_RULES);
  if (isImpossible(ask)) throw new Error(ask.refused);
  return ask;
}
