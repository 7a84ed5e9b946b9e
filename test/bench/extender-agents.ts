// The agents of the extender's bench, in a process of their own: their memory and their work are not the extender's.
import { evenHost, GIB } from '../support/hand-made-hosts.ts';
import { exclusivePod } from '../support/random-pods.ts';
import { TopologyAgent } from '../support/topology-agent.ts';

/** What the bench sends: make a pod on that agent and say of which version it is. */
export interface Change {
  readonly agent: number;
  readonly pod: string;
}

/** What comes back: first all agents, then an answer per change. */
export type Answer =
  | { readonly endpoints: readonly { readonly node: string; readonly address: string }[] }
  | { readonly version: string; readonly at: number };

const agents: TopologyAgent[] = [];
for (let index = 0; index < Number(process.argv[2]); index += 1) {
  const agent = new TopologyAgent(`node-${index}`, evenHost(2, 32, 2, { coresPerL3: 8, memoryBytes: 256 * GIB }));
  await agent.start();
  for (let pod = 0; pod < 12; pod += 1) agent.create(exclusivePod(`uid-${index}-${pod}`, 2));
  agents.push(agent);
}
const send = (answer: Answer): void => void process.send?.(answer);
process.on('message', ({ agent, pod }: Change) => {
  const found = agents[agent];
  if (found === undefined) return;
  const at = performance.timeOrigin + performance.now();
  if (!found.create(exclusivePod(pod, 1))) found.remove(pod);
  send({ version: `${found.version}`, at });
});
process.on('disconnect', () => process.exit(0));
send({ endpoints: agents.map(({ nodeName: node, address }) => ({ node, address })) });
