// Which policy is in force for a pod: its annotations, the defaults of its namespace, and what the namespace may not have.
import { HoldfastError } from '../../lib/errors.ts';
import { parsePodPolicy } from '../model/annotations.ts';
import { type ContainerPolicy, DEFAULT_POLICY, type PodPolicy } from '../model/policy.ts';

/** What a namespace can be denied: the values that go beyond the kubelet's own behaviour. */
export type DeniableValue = 'reuse' | 'exclusive' | 'required';

export interface NamespaceRules {
  readonly defaults: Partial<Pick<ContainerPolicy, 'restart' | 'cpuset' | 'numa'>>;
  readonly deny: readonly DeniableValue[];
}

export interface PolicyRules {
  /** What becomes of a pod that asks for what its namespace is denied. */
  readonly onDenied: 'refuse' | 'ignore';
  readonly defaults: NamespaceRules['defaults'];
  /** What no pod of this node can have, because the feature is turned off. */
  readonly turnedOff: readonly DeniableValue[];
  readonly namespaces: ReadonlyMap<string, NamespaceRules>;
}

export interface PolicyDecision {
  readonly policy: PodPolicy;
  /** What was asked for and ignored; for the log. */
  readonly ignored: readonly string[];
}

/** The policy without the denied values, and what was taken away. */
function withoutDenied(
  policy: ContainerPolicy,
  deny: readonly DeniableValue[],
): { readonly policy: ContainerPolicy; readonly removed: readonly string[] } {
  const removed: string[] = [];
  let allowed = policy;
  if (policy.restart === 'reuse' && deny.includes('reuse')) {
    removed.push('restart "reuse"');
    allowed = { ...allowed, restart: 'rebuild' };
  }
  if (policy.cpuset === 'exclusive' && deny.includes('exclusive')) {
    removed.push('cpuset "exclusive"');
    allowed = { ...allowed, cpuset: 'shared' };
  }
  if (policy.numa === 'required' && deny.includes('required')) {
    removed.push('numa "required"');
    allowed = { ...allowed, numa: 'preferred' };
  }
  return { policy: allowed, removed };
}

/**
 * @param annotations - the pod's own
 * @throws HoldfastError INVALID_REQUEST for a value that does not exist; NOT_GRANTED for one that the namespace is
 * denied, when the rules say `refuse`
 */
export function planPolicy(
  namespace: string,
  annotations: Readonly<Record<string, string>>,
  rules: PolicyRules,
): PolicyDecision {
  const ofNamespace = rules.namespaces.get(namespace);
  const asked = parsePodPolicy(annotations, { ...DEFAULT_POLICY, ...rules.defaults, ...ofNamespace?.defaults });
  const deny = [...rules.turnedOff, ...(ofNamespace?.deny ?? [])];
  const podWide = withoutDenied(asked, deny);
  const ignored = [...podWide.removed];
  const containers = new Map<string, ContainerPolicy>();
  for (const [name, policy] of asked.containers) {
    const each = withoutDenied(policy, deny);
    containers.set(name, each.policy);
    ignored.push(...each.removed.map((value) => `${value} of container ${name}`));
  }
  if (ignored.length > 0 && rules.onDenied === 'refuse') {
    throw new HoldfastError(
      'NOT_GRANTED',
      `on this node namespace ${namespace} may not have ${ignored.join(', ')}; change the pod's annotations, or ask whoever runs the node to change policy.namespaces.${namespace}.deny${rules.turnedOff.length > 0 ? ', cpuset.enabled or reuse.enabled' : ''} in its configuration`,
    );
  }
  return { policy: { ...podWide.policy, containers }, ignored };
}

/** Whether nothing of the pod is Holdfast's business beyond the shared pool. */
export function isDefaultPolicy(policy: PodPolicy): boolean {
  const isDefault = (each: ContainerPolicy): boolean =>
    each.restart === 'rebuild' && each.cpuset === 'shared' && each.numa === 'none';
  return isDefault(policy) && [...policy.containers.values()].every(isDefault);
}
