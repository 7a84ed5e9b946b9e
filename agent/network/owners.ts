// Remembers what RunPodSandbox told of a pod until the CNI plugin is called for its sandbox, which is told less: labels
// come no other way.
import type { Pod } from '../model/pod.ts';
import type { PodHint } from './cni/request.ts';
import { type OwnerRules, planOwner } from './plan-owner.ts';
import type { Owner } from './records.ts';

/** What counts of what RunPodSandbox tells. */
export type ToldPod = Pick<Pod, 'uid' | 'namespace' | 'name' | 'labels' | 'annotations'>;

/** More pods than a node has. Nothing else ends the memory of one: what is told last about a pod is true until then. */
const MOST_PODS = 4096;

export class Owners {
  readonly #rules: OwnerRules;
  /** By UID. Not all that was told: annotations can have 256 KiB. */
  readonly #seen = new Map<string, Owner>();

  constructor(rules: OwnerRules) {
    this.#rules = rules;
  }

  /**
   * RunPodSandbox follows.
   * @throws HoldfastError INVALID_REQUEST when the pod asks for what does not exist: here, where the kubelet shows why
   */
  expect({ uid, namespace, name, labels, annotations }: ToldPod): void {
    const owner = planOwner({ uid, namespace, name, labels, annotations }, this.#rules);
    this.#seen.delete(uid);
    this.#seen.set(uid, owner);
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MOST_PODS && oldest !== undefined) this.#seen.delete(oldest);
  }

  /**
   * Whose the sandbox is: what its pod's sandbox config said, else what the runtime handed to the plugin.
   * @throws HoldfastError INVALID_REQUEST as {@link planOwner}
   */
  ownerOf({ namespace, name, uid, annotations }: PodHint): Owner {
    if (namespace === undefined || name === undefined) return planOwner(undefined, this.#rules);
    const seen = uid === undefined ? undefined : this.#seen.get(uid);
    // The UID comes from the same kubelet; that it names another pod would be somebody's forgery.
    if (seen?.pod?.namespace === namespace && seen.pod.name === name) return seen;
    return planOwner(
      {
        namespace,
        name,
        ...(uid === undefined ? {} : { uid }),
        ...(annotations === undefined ? {} : { annotations: new Map(Object.entries(annotations)) }),
      },
      this.#rules,
    );
  }
}
