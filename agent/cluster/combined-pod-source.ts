// Several sources as one: a pod belongs to whichever knows it.
import type { PodName, PodPhase, PodSource } from './pod-source.ts';

/** When sources disagree the one that keeps the pod's holdings wins. */
const STRONGEST_FIRST: readonly PodPhase[] = ['present', 'deleting', 'finished', 'deleted'];

/** A source that cannot tell now, or that knows a pod of this name but not whether it is this one. */
function mayKnow(source: PodSource, pod: PodName): boolean {
  return source.phaseOf(pod) === 'unknown' && (source.status().problem !== undefined || source.find(pod) !== undefined);
}

/** @param sources - may be none: then nothing is known of any pod */
export function combinePodSources(sources: readonly PodSource[]): PodSource {
  return {
    status: () => {
      const statuses = sources.map((source) => source.status());
      const problems = statuses.flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
      return {
        name: statuses.length === 0 ? 'none' : statuses.map(({ name }) => name).join(', '),
        ageMs: Math.max(0, ...statuses.map(({ ageMs }) => ageMs)),
        ...(problems.length === 0 ? {} : { problem: problems.join('; ') }),
      };
    },
    find: (pod) => {
      for (const source of sources) {
        const facts = source.find(pod);
        if (facts !== undefined) return facts;
      }
      return undefined;
    },
    phaseOf: (pod) => {
      const phases = sources.map((source) => source.phaseOf(pod));
      const strongest = STRONGEST_FIRST.find((phase) => phases.includes(phase)) ?? 'unknown';
      if (
        strongest !== 'deleted' ||
        sources.some((source, i) => source.seesDeletions === true && phases[i] === 'deleted')
      ) {
        return strongest;
      }
      return sources.some((source) => mayKnow(source, pod)) ? 'unknown' : 'deleted';
    },
    onChange: (listener) => {
      const ends = sources.map((source) => source.onChange(listener));
      return () => {
        for (const end of ends) end();
      };
    },
    close: () => {
      for (const source of sources) source.close();
    },
  };
}
