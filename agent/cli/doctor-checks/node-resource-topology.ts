// Is the NodeResourceTopology object of this node in the cluster, up to date, and nobody else's? Pure.
import type { ObjectOwners } from '../../cluster/node-resource-topology-api.ts';
import type { Finding } from './check.ts';
import type { Answer } from './services.ts';

/** What the agent calls it in its status. */
export const NODE_RESOURCE_TOPOLOGY = 'node resource topology';

export interface NodeResourceTopologyFacts {
  readonly nodeName: string;
  /** Who owns the object; undefined where there is none. */
  readonly owners: Answer<ObjectOwners | undefined>;
  /** The agent's own line about it. */
  readonly agent: Answer<{ readonly level: string; readonly text: string } | undefined>;
}

const subject = NODE_RESOURCE_TOPOLOGY;
const PAGE = 'docs/node-resource-topology.md';

const ONE_WRITER =
  "keep the other program off this node (NFD's topology updater: a node selector on its DaemonSet; Koordinator: its koordlet), " +
  `or set nodeResourceTopology: off; ${PAGE}`;

function checkWriters({ nodeName, owners, agent }: NodeResourceTopologyFacts): Finding {
  const others = 'value' in owners ? (owners.value?.others ?? []) : [];
  if (others.length > 0) {
    const text = `${others.join(', ')} writes the object ${nodeName}, too: schedulers see now one story and now the other`;
    return { level: 'failed', subject, text, remedy: ONE_WRITER };
  }
  // They may take turns, and this look may have come at ours.
  if ('value' in agent && agent.value?.level === 'failed') {
    return { level: 'failed', subject, text: agent.value.text, remedy: ONE_WRITER };
  }
  if ('problem' in owners) {
    const text = `the object ${nodeName} cannot be looked at: ${owners.problem}`;
    return { level: 'warning', subject, text, remedy: `${PAGE} says which kind and which rights are needed` };
  }
  if (owners.value === undefined) {
    const text = `there is no object ${nodeName}: schedulers that filter by it know nothing of this node`;
    return { level: 'warning', subject, text, remedy: 'holdfast status says why; it comes when the agent runs' };
  }
  return { level: 'ok', subject, text: `object ${nodeName}, written by holdfast alone` };
}

export function checkNodeResourceTopology(facts: NodeResourceTopologyFacts): readonly Finding[] {
  const found = checkWriters(facts);
  const { agent } = facts;
  if (found.level !== 'ok' || !('value' in agent) || agent.value?.level !== 'warning') return [found];
  return [{ level: 'warning', subject, text: agent.value.text, remedy: PAGE }];
}
