// For pods that a source knows by name only: which UIDs were asked for under a name. A pod that was made anew has another
// UID under the same name, and the source cannot tell which of the two it names.
import type { PodName, PodSource } from './pod-source.ts';

/** UIDs remembered per name. */
const MAX_UIDS = 16;

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;

export class UidsByName {
  readonly #uids = new Map<string, Set<string>>();
  #names: ReadonlySet<string> = new Set();

  /** The pods that the source knows by name only now; what was asked about others is forgotten. */
  nameOnly(pods: readonly { readonly namespace: string; readonly name: string }[]): void {
    this.#names = new Set(pods.map(keyOf));
    for (const key of this.#uids.keys()) if (!this.#names.has(key)) this.#uids.delete(key);
  }

  /** Notes that the pod was asked for. @returns whether another one of its name was asked for, too */
  isAmbiguous(pod: PodName): boolean {
    const key = keyOf(pod);
    if (!this.#names.has(key)) return false;
    const uids = this.#uids.get(key) ?? new Set();
    this.#uids.set(key, uids);
    if (uids.size < MAX_UIDS) uids.add(pod.uid);
    return uids.size > 1;
  }
}

/**
 * The source, saying `unknown` of pods that share a name: said to be present, the older would hold its resources for
 * ever; said to be finished, the newer would lose them.
 */
export function withAmbiguity(source: PodSource, uids: UidsByName): PodSource {
  return {
    ...source,
    find: (pod) => {
      const facts = source.find(pod);
      if (facts !== undefined) uids.isAmbiguous(pod);
      return facts;
    },
    phaseOf: (pod) => {
      const phase = source.phaseOf(pod);
      const isKnown = phase === 'present' || phase === 'deleting' || phase === 'finished';
      return isKnown && uids.isAmbiguous(pod) ? 'unknown' : phase;
    },
  };
}
