// The pods of this node as the API server told of them, over time. It decides when a pod may be called deleted: too
// late costs a while of kept resources, too early costs a pod its data. Pure.
import type { PodUid } from '../model/ids.ts';
import type { PodFacts } from '../model/pod.ts';
import type { ApiPod } from './api-pod.ts';
import { factsAsText } from './facts-text.ts';
import type { PodName, PodPhase } from './pod-source.ts';
import { isOlder } from './resource-version.ts';

export interface PodList {
  readonly pods: readonly ApiPod[];
  /** The state of the cluster that the list shows. */
  readonly resourceVersion: string;
  /** Every pod of the node is in it: no page is missing, and every item could be read. */
  readonly complete: boolean;
  /** Which cluster it is of; versions of two clusters cannot be compared. */
  readonly origin?: string;
}

export interface PodEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly pod: ApiPod;
}

export interface ViewLimits {
  /** Pods; further ones are left out, with a problem. */
  readonly pods: number;
  /** What is kept of all pods together, in characters; pods beyond it are known by name only, with a problem. */
  readonly characters: number;
}

/** A kubelet runs 110 pods unless told otherwise; finished ones stay in the API for a while. */
export const VIEW_LIMITS: ViewLimits = { pods: 5000, characters: 32 * 1024 * 1024 };

/** UIDs of deleted pods are remembered up to this number. */
const MAX_DELETED = 10_000;

interface KeptPod {
  readonly pod: ApiPod;
  readonly characters: number;
}

const nameOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;

export class ApiPodView {
  readonly #limits: ViewLimits;
  readonly #pods = new Map<PodUid, KeptPod>();
  /** The API has at most one pod of a name at a time. */
  readonly #uidByName = new Map<string, PodUid>();
  /** Pods that are proven to be gone, with the version at which they were. */
  readonly #deleted = new Map<PodUid, string>();
  #characters = 0;
  #resourceVersion: string | undefined;
  #origin: string | undefined;
  #leftOut = false;
  #unreadable = false;

  constructor(limits: ViewLimits = VIEW_LIMITS) {
    this.#limits = limits;
  }

  /** The newest state that was seen; undefined before the first list. */
  get resourceVersion(): string | undefined {
    return this.#resourceVersion;
  }

  /** Of the last list. */
  get origin(): string | undefined {
    return this.#origin;
  }

  get size(): number {
    return this.#pods.size;
  }

  /**
   * Takes in a list. A pod that was seen and is not in it is deleted if the list is complete and not older than what
   * was seen, of this pod too. An older list (a server that lags, or was restored from a backup) and one of another
   * cluster prove nothing about missing pods: they become unknown.
   * @returns whether anything changed
   */
  list({ pods, resourceVersion, complete, origin }: PodList): boolean {
    const isElsewhere = this.#resourceVersion !== undefined && origin !== this.#origin;
    const isNewer = !isElsewhere && isNotOlder(resourceVersion, this.#resourceVersion);
    const listed = new Set(pods.map(({ uid }) => uid));
    const drop = (pod: ApiPod): void =>
      this.#remove(pod, isNewer && isNotOlder(resourceVersion, pod.resourceVersion) ? resourceVersion : undefined);
    let changed = false;
    for (const { pod } of complete || isElsewhere ? [...this.#pods.values()] : []) {
      if (listed.has(pod.uid)) continue;
      drop(pod);
      changed = true;
    }
    this.#leftOut = false;
    this.#unreadable = !complete;
    for (const pod of pods) {
      this.#deleted.delete(pod.uid);
      const other = this.#namesake(pod);
      if (other !== undefined && !listed.has(other.uid)) drop(other);
      changed = this.#put(pod) || changed;
    }
    this.#resourceVersion = resourceVersion;
    this.#origin = origin;
    return changed;
  }

  /** Takes in an event of a watch; one that comes late, after newer ones, changes nothing. @returns whether anything changed */
  apply({ type, pod }: PodEvent): boolean {
    this.advance(pod.resourceVersion);
    const known = this.#pods.get(pod.uid)?.pod;
    if (type === 'DELETED') {
      if (this.#deleted.has(pod.uid)) return false;
      this.#remove(known ?? pod, pod.resourceVersion);
      return true;
    }
    const lastSeen = known?.resourceVersion ?? this.#deleted.get(pod.uid);
    if (lastSeen !== undefined && isOlder(pod.resourceVersion, lastSeen) === true) return false;
    const other = this.#namesake(pod);
    if (other !== undefined) {
      const isLate = isOlder(pod.resourceVersion, other.resourceVersion);
      if (isLate === true) return false;
      // The name was given to a new pod: the former one is gone, unless nobody can tell which of the two is new.
      this.#remove(other, isLate === undefined ? undefined : pod.resourceVersion);
    }
    this.#deleted.delete(pod.uid);
    return this.#put(pod);
  }

  /** What a bookmark says: everything up to this state was told. */
  advance(resourceVersion: string): void {
    const before = this.#resourceVersion;
    if (before === undefined || isOlder(resourceVersion, before) !== true) this.#resourceVersion = resourceVersion;
  }

  /** By UID; a static pod by its mirror's name and the UID that the mirror names. */
  #lookUp({ uid, namespace, name }: PodName): ApiPod | undefined {
    const known = this.#pods.get(uid)?.pod;
    if (known !== undefined) return known;
    const namesake = this.#uidByName.get(nameOf({ namespace, name }));
    const pod = namesake === undefined ? undefined : this.#pods.get(namesake)?.pod;
    // Name and namespace must fit, too: anybody who may create pods can write the annotation.
    return pod?.mirrors === uid ? pod : undefined;
  }

  find(name: PodName): PodFacts | undefined {
    const facts = this.#lookUp(name)?.facts;
    return facts === undefined ? undefined : { ...facts, uid: name.uid };
  }

  /** `unknown` for every pod that this agent has never seen: it may be a static pod, or newer than the view. */
  phaseOf(name: PodName): PodPhase {
    const pod = this.#lookUp(name);
    if (pod === undefined) return this.#deleted.has(name.uid) ? 'deleted' : 'unknown';
    if (pod.mirrors !== undefined) return 'present';
    if (pod.finished) return 'finished';
    return pod.deleting ? 'deleting' : 'present';
  }

  /** What is wrong with the pods themselves; undefined when all are known. */
  problem(): string | undefined {
    if (this.#leftOut) {
      return `the API server names over ${this.#limits.pods} pods of this node; further ones are left out`;
    }
    if (this.#unreadable) return 'the API server names a pod that cannot be read; none counts as missing meanwhile';
    for (const { pod } of this.#pods.values()) if (pod.facts === undefined) return pod.problem;
    return undefined;
  }

  /** Another pod that has this one's name in the view. */
  #namesake(pod: ApiPod): ApiPod | undefined {
    const uid = this.#uidByName.get(nameOf(pod));
    return uid === undefined || uid === pod.uid ? undefined : this.#pods.get(uid)?.pod;
  }

  #forgetName(pod: ApiPod): void {
    if (this.#uidByName.get(nameOf(pod)) === pod.uid) this.#uidByName.delete(nameOf(pod));
  }

  #put(pod: ApiPod): boolean {
    const before = this.#pods.get(pod.uid);
    if (before === undefined && this.#pods.size >= this.#limits.pods) {
      const wasLeftOut = this.#leftOut;
      this.#leftOut = true;
      return !wasLeftOut;
    }
    const characters = factsAsText(pod.facts).length;
    const room = this.#limits.characters - this.#characters + (before?.characters ?? 0);
    const kept = characters <= room ? { pod, characters } : { pod: withoutFacts(pod), characters: 0 };
    this.#characters += kept.characters - (before?.characters ?? 0);
    // UIDs keep their names; a server that says otherwise must not leave the old one behind.
    if (before !== undefined) this.#forgetName(before.pod);
    this.#pods.set(pod.uid, kept);
    this.#uidByName.set(nameOf(pod), pod.uid);
    return before === undefined || !isSame(before.pod, kept.pod);
  }

  /** @param deletedAt - the version at which it is proven to be gone; undefined: nobody knows whether it is */
  #remove(pod: ApiPod, deletedAt: string | undefined): void {
    const kept = this.#pods.get(pod.uid);
    this.#characters -= kept?.characters ?? 0;
    this.#pods.delete(pod.uid);
    this.#forgetName(kept?.pod ?? pod);
    if (deletedAt === undefined || pod.mirrors !== undefined) return;
    this.#deleted.set(pod.uid, deletedAt);
    for (const uid of this.#deleted.keys()) {
      if (this.#deleted.size <= MAX_DELETED) break;
      this.#deleted.delete(uid);
    }
  }
}

/** Whether it is certain. */
function isNotOlder(version: string, than: string | undefined): boolean {
  return than !== undefined && isOlder(version, than) === false;
}

/** What is kept of a pod when there is no room for more. */
export function withoutFacts({ uid, namespace, name, resourceVersion, mirrors, deleting, finished }: ApiPod): ApiPod {
  const problem = 'the pods of this node take more memory than they may; of some only the names are kept';
  const pod = { uid, namespace, name, resourceVersion, deleting, finished, problem };
  return mirrors === undefined ? pod : { ...pod, mirrors };
}

function isSame(a: ApiPod, b: ApiPod): boolean {
  const same = a.deleting === b.deleting && a.finished === b.finished && a.mirrors === b.mirrors;
  return same && factsAsText(a.facts) === factsAsText(b.facts);
}
