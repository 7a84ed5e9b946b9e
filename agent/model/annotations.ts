// From the annotations of a pod to its policy. Pure; used by the agent, and by the shim when the agent is away.
import { HoldfastError } from '../../lib/errors.ts';
import type { ContainerPolicy, PodPolicy } from './policy.ts';

export const ANNOTATION_DOMAIN = 'holdfast.dev';

const VALUES = {
  restart: ['rebuild', 'reuse'],
  cpuset: ['shared', 'exclusive'],
  numa: ['none', 'preferred', 'required'],
} as const;

type PolicyName = keyof typeof VALUES;

/** What annotations say, before defaults: the fields that are there. */
export type PolicyOverrides = Partial<Pick<ContainerPolicy, PolicyName>>;

/**
 * Reads one value as it stands in an annotation or in the configuration.
 * @throws HoldfastError INVALID_REQUEST when the value is not one of those known
 */
function readValue<Name extends PolicyName>(name: Name, value: string, key: string): (typeof VALUES)[Name][number] {
  const known: readonly string[] = VALUES[name];
  if (known.includes(value)) return value as (typeof VALUES)[Name][number];
  const later = name === 'cpuset' && value.startsWith('group=') ? ' (CPU groups are not in this version)' : '';
  throw new HoldfastError(
    'INVALID_REQUEST',
    `annotation ${key} is "${value}"${later}; use one of ${known.map((each) => `"${each}"`).join(', ')}`,
  );
}

/** `holdfast.dev/cpuset` → pod-wide; `web.holdfast.dev/cpuset` → container "web"; undefined for any other key. */
function splitKey(key: string): { readonly container: string | undefined; readonly name: string } | undefined {
  const slash = key.indexOf('/');
  if (slash < 0) return undefined;
  const domain = key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (domain === ANNOTATION_DOMAIN) return { container: undefined, name };
  const suffix = `.${ANNOTATION_DOMAIN}`;
  if (!domain.endsWith(suffix)) return undefined;
  return { container: domain.slice(0, -suffix.length), name };
}

/**
 * The policy that a pod's annotations ask for.
 * @param annotations - the pod's own; keys of other domains and Holdfast's other features are left alone
 * @param defaults - what holds where an annotation is absent
 * @throws HoldfastError INVALID_REQUEST naming the annotation and the values it may have
 */
export function parsePodPolicy(annotations: Readonly<Record<string, string>>, defaults: ContainerPolicy): PodPolicy {
  let podWide: PolicyOverrides = {};
  const perContainer = new Map<string, PolicyOverrides>();
  for (const [key, value] of Object.entries(annotations)) {
    const split = splitKey(key);
    if (split === undefined || !Object.hasOwn(VALUES, split.name)) continue;
    const name = split.name as PolicyName;
    const override: PolicyOverrides = { [name]: readValue(name, value, key) };
    if (split.container === undefined) podWide = { ...podWide, ...override };
    else perContainer.set(split.container, { ...perContainer.get(split.container), ...override });
  }
  const base: ContainerPolicy = { ...defaults, ...podWide };
  const containers = new Map<string, ContainerPolicy>();
  for (const [name, overrides] of perContainer) {
    const numaScope = overrides.numa === undefined ? base.numaScope : 'container';
    containers.set(name, { ...base, ...overrides, numaScope });
  }
  return { ...base, containers };
}
