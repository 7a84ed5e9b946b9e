// What no single value can show to be wrong: settings that do not go together, or that open what should be closed. Pure.

import type { ConfigProblem, ConfigSource } from '../../agent/config/source.ts';
import { isLoopback } from '../../agent/config/topology-address.ts';
import type { ExtenderConfig } from './schema.ts';

/** @returns every such problem, with its place in the file */
export function findConflicts(config: ExtenderConfig, source: ConfigSource): readonly ConfigProblem[] {
  const at = (path: readonly PropertyKey[], message: string): ConfigProblem => ({
    ...source.position(path),
    message: `${path.join('.')}: ${message}`,
  });
  return [...serving(config, at), ...following(config, at), ...flying(config, at)];
}

type At = (path: readonly PropertyKey[], message: string) => ConfigProblem;

function serving({ listen }: ExtenderConfig, at: At): readonly ConfigProblem[] {
  const { address, tls, plaintext } = listen;
  if (address === 'off' || tls !== undefined || plaintext === 'allow' || isLoopback(address.host)) return [];
  const what = `other hosts can reach ${address.host}, and there are no certificates`;
  return [
    at(['listen', 'address'], `${what}: set listen.tls, or an address of 127.0.0.1 (or listen.plaintext: allow)`),
  ];
}

function following({ agents, kubernetes }: ExtenderConfig, at: At): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const nodes = new Set<string>();
  const isOpen = agents.tls === undefined && agents.plaintext === 'refuse';
  const instead = 'set agents.tls (or agents.plaintext: allow)';
  if (isOpen && kubernetes !== undefined) {
    problems.push(at(['kubernetes'], `the agents of its nodes would be followed without encryption: ${instead}`));
  }
  for (const [index, { node, address }] of agents.endpoints.entries()) {
    if (nodes.has(node)) problems.push(at(['agents', 'endpoints', index], `there is one for node ${node} already`));
    nodes.add(node);
    const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
    if (isOpen && !isLoopback(host)) {
      problems.push(at(['agents', 'endpoints', index], `${host} would be followed without encryption: ${instead}`));
    }
  }
  return problems;
}

function flying({ inFlight }: ExtenderConfig, at: At): readonly ConfigProblem[] {
  if (inFlight.wait <= inFlight.ttl) return [];
  return [
    at(['inFlight', 'wait'], 'an answer would wait longer than inFlight.ttl, after which there is nobody to wait for'),
  ];
}
