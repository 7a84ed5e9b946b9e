// Which holdings are believed at start: the store's, and for pods that it does not have, those stamped on their
// containers. Pure.
import type { PodUid } from '../model/ids.ts';
import type { RuntimeContainer } from '../runtime/runtime.ts';
import type { PodHolding } from './holding.ts';
import { readStamp } from './stamp.ts';

export interface Rebuilt {
  readonly holdings: readonly PodHolding[];
  /** What could not be believed, one sentence each. */
  readonly remarks: readonly string[];
}

/**
 * The store comes first, then stamps: of running containers before others, of younger before older. A holding with a
 * CPU that somebody has already is passed over.
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
  const stamped = containers
    .flatMap((container) => {
      const { holding } = readStamp(container.annotations);
      // A stamp that names another pod was not written by us.
      return holding === undefined || holding.uid !== container.podUid ? [] : [{ container, holding }];
    })
    .toSorted(
      (a, b) =>
        Number(b.container.state === 'running') - Number(a.container.state === 'running') ||
        b.container.createdAt - a.container.createdAt,
    );
  const seen = new Set<PodUid>(holdings.keys());
  for (const { holding } of stamped) {
    if (seen.has(holding.uid)) continue;
    seen.add(holding.uid);
    accept(holding);
  }
  return { holdings: [...holdings.values()], remarks };
}
