// Which holdings are believed at start: the store's, and for pods that it does not have, those stamped on their
// containers. Pure.
import type { PodUid } from '../model/ids.ts';
import type { RuntimeContainer } from '../runtime/runtime.ts';
import type { PodHolding } from './holding.ts';
import { HOLDING_ANNOTATION, readStamp } from './stamp.ts';

export interface Rebuilt {
  readonly holdings: readonly PodHolding[];
  /** What could not be believed, one sentence each. */
  readonly remarks: readonly string[];
}

/** What a container says about its pod. */
interface Word {
  readonly podUid: PodUid;
  readonly createdAt: number;
  /** Undefined: the pod held nothing when the container was created. */
  readonly holding: PodHolding | undefined;
}

/** Nothing where we did not stamp the container, or where its stamp cannot be ours: that says nothing about its pod. */
function wordOf({ podUid, createdAt, annotations }: RuntimeContainer): readonly Word[] {
  const { cpus, holding } = readStamp(annotations);
  if (holding !== undefined) return holding.uid === podUid ? [{ podUid, createdAt, holding }] : [];
  if (cpus === undefined || annotations[HOLDING_ANNOTATION] !== undefined) return [];
  return [{ podUid, createdAt, holding }];
}

/**
 * The store comes first, then stamps. Of a pod's containers the newest decides: a pod that owned CPUs and owns none now
 * does not get them back. Pods with a running container come before others, younger before older. A holding with a CPU
 * that somebody has already is passed over.
 *
 * @param stored - undefined where a record could not be read
 */
export function planRebuild(
  stored: ReadonlyMap<string, PodHolding | undefined>,
  containers: readonly RuntimeContainer[],
): Rebuilt {
  const holdings = new Map<PodUid, PodHolding>();
  const owners = new Map<number, PodHolding>();
  const remarks: string[] = [];
  const accept = (holding: PodHolding): void => {
    const taken = [...holding.cpus].find((cpu) => owners.has(cpu));
    const owner = taken === undefined ? undefined : owners.get(taken);
    if (owner !== undefined) {
      remarks.push(
        `pod ${holding.namespace}/${holding.name} says it owns CPUs ${holding.cpus.toString()}, but ${owner.namespace}/${owner.name} owns CPU ${taken}: it runs in the shared pool until its containers are created again`,
      );
      return;
    }
    holdings.set(holding.uid, holding);
    for (const cpu of holding.cpus) owners.set(cpu, holding);
  };
  for (const [uid, holding] of stored) {
    if (holding === undefined || holding.uid !== uid) remarks.push(`the stored holding of pod ${uid} cannot be read`);
    else accept(holding);
  }
  const newest = new Map<PodUid, Word>();
  for (const word of containers.flatMap(wordOf).toSorted((a, b) => a.createdAt - b.createdAt)) {
    newest.set(word.podUid, word);
  }
  const running = new Set(containers.filter(({ state }) => state === 'running').map((container) => container.podUid));
  const inOrder = [...newest.values()].toSorted(
    (a, b) => Number(running.has(b.podUid)) - Number(running.has(a.podUid)) || b.createdAt - a.createdAt,
  );
  for (const { podUid, holding } of inOrder) {
    if (holding !== undefined && !holdings.has(podUid)) accept(holding);
  }
  return { holdings: [...holdings.values()], remarks };
}
