// What no single file can show to be wrong: settings that do not go together.
import { poolProblems } from './pool-problems.ts';
import type { AgentConfig } from './schema.ts';
import type { ConfigProblem, Position } from './source.ts';
import { storeProblems } from './store-problems.ts';

/** @param origins - where each key that was set is, by its path with dots */
export function findConflicts(config: AgentConfig, origins: ReadonlyMap<string, Position>): readonly ConfigProblem[] {
  return [...findGivingUpConflicts(config, origins), ...findPoolConflicts(config, origins)];
}

function findGivingUpConflicts(config: AgentConfig, origins: ReadonlyMap<string, Position>): readonly ConfigProblem[] {
  const at = origins.get('refusal.giveUpAfter');
  if (at === undefined || config.refusal.giveUpAfter === 'off' || config.podSource.api !== 'off') return [];
  const message =
    'refusal.giveUpAfter: a pod is given up at the API server; set podSource.api, too (docs/podsource.md)';
  return [{ ...at, message }];
}

/** At the first of the keys of network: a list's items have no position of their own. */
function findPoolConflicts({ network }: AgentConfig, origins: ReadonlyMap<string, Position>): readonly ConfigProblem[] {
  const at = [...origins].find(([key]) => key === 'network' || key.startsWith('network.'))?.[1];
  if (at === undefined) return [];
  return [...poolProblems(network), ...storeProblems(network.store)].map((message) => ({ ...at, message }));
}
