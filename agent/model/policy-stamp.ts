// The policy in force, written into the annotations of sandboxes and containers at creation: Start, Stop, Remove and
// Update carry only an ID, and without the agent the shim must still tell pods apart.
import { HoldfastError } from '../../lib/errors.ts';
import { type ContainerPolicy, DEFAULT_POLICY, type PodPolicy } from './policy.ts';

/** On containers: a ContainerPolicy as JSON. On sandboxes: a PodPolicy, its containers as an object. */
export const POLICY_ANNOTATION = 'internal.holdfast.dev/policy';

const RESTART: readonly string[] = ['rebuild', 'reuse'] satisfies ContainerPolicy['restart'][];
const CPUSET: readonly string[] = ['shared', 'exclusive'] satisfies ContainerPolicy['cpuset'][];
const NUMA: readonly string[] = ['none', 'preferred', 'required'] satisfies ContainerPolicy['numa'][];
const NUMA_SCOPE: readonly string[] = ['pod', 'container'] satisfies ContainerPolicy['numaScope'][];

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function oneOf<Value extends string>(known: readonly string[], value: unknown, absent: Value): Value {
  if (value === undefined) return absent;
  if (typeof value === 'string' && known.includes(value)) return value as Value;
  throw new HoldfastError('DAMAGED', `${JSON.stringify(value)} is not one of ${known.join(', ')}`);
}

function readContainerPolicy(value: Readonly<Record<string, unknown>>): ContainerPolicy {
  return {
    restart: oneOf(RESTART, value['restart'], DEFAULT_POLICY.restart),
    cpuset: oneOf(CPUSET, value['cpuset'], DEFAULT_POLICY.cpuset),
    numa: oneOf(NUMA, value['numa'], DEFAULT_POLICY.numa),
    numaScope: oneOf(NUMA_SCOPE, value['numaScope'], DEFAULT_POLICY.numaScope),
  };
}

function parseStamp(annotations: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> | undefined {
  const text = annotations[POLICY_ANNOTATION];
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HoldfastError('DAMAGED', `annotation ${POLICY_ANNOTATION} is not JSON`, { cause });
  }
  if (!isRecord(value)) throw new HoldfastError('DAMAGED', `annotation ${POLICY_ANNOTATION} is not an object`);
  return value;
}

export function stampContainerPolicy({ restart, cpuset, numa, numaScope }: ContainerPolicy): string {
  return JSON.stringify({ restart, cpuset, numa, numaScope });
}

export function stampPodPolicy({ containers, ...podWide }: PodPolicy): string {
  return JSON.stringify({ ...podWide, containers: Object.fromEntries(containers) });
}

/**
 * @returns undefined when there is no stamp: the container was created without Holdfast
 * @throws HoldfastError DAMAGED when the stamp cannot be read; treat such a container as protected
 */
export function readContainerStamp(annotations: Readonly<Record<string, string>>): ContainerPolicy | undefined {
  const stamp = parseStamp(annotations);
  return stamp === undefined ? undefined : readContainerPolicy(stamp);
}

/** As {@link readContainerStamp}, for a sandbox. */
export function readPodStamp(annotations: Readonly<Record<string, string>>): PodPolicy | undefined {
  const stamp = parseStamp(annotations);
  if (stamp === undefined) return undefined;
  const containers = new Map<string, ContainerPolicy>();
  if (isRecord(stamp['containers'])) {
    for (const [name, value] of Object.entries(stamp['containers'])) {
      if (isRecord(value)) containers.set(name, readContainerPolicy(value));
    }
  }
  return { ...readContainerPolicy(stamp), containers };
}
