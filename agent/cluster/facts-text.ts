// What is known of a pod as one text: to see whether anything changed, and how much memory it takes.
import type { PodFacts } from '../model/pod.ts';

/** Equal texts mean equal facts. */
export function factsAsText(facts: PodFacts | undefined): string {
  return JSON.stringify(facts, (_key, value: unknown) => (value instanceof Map ? [...value] : value)) ?? '';
}
