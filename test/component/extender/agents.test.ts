// The client of the agents' API against real servers: joining versions, losing and finding agents again, certificates.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { Agents } from '../../../extender/agents/agents.ts';
import { AgentConnector, type AgentEndpoint, type AgentTls } from '../../../extender/agents/connect.ts';
import { AGENT_TIMES, type AgentTimes } from '../../../extender/agents/follow-agent.ts';
import type { Published } from '../../../extender/agents/plan-join.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';
import { exclusivePod } from '../../support/random-pods.ts';
import { makeAuthority } from '../../support/test-certificates.ts';
import { TopologyAgent } from '../../support/topology-agent.ts';

const PATIENCE_MS = 120_000;
const TIMES: AgentTimes = { ...AGENT_TIMES, pauseMs: 20, longestPauseMs: 100 };

async function startAgent(t: Test, name: string): Promise<TopologyAgent> {
  const agent = new TopologyAgent(name, evenHost(2, 4, 1));
  await agent.start();
  t.teardown(() => agent.stop());
  return agent;
}

function follow(t: Test, tls?: AgentTls, times = TIMES) {
  const connector = new AgentConnector(tls);
  const seen = new Map<string, Published>();
  const problems: string[] = [];
  const gone: string[] = [];
  const agents = new Agents({
    connect: (endpoint) => connector.connect(endpoint),
    times,
    onPublished: (node, published) => seen.set(node, published),
    onLost: (node, problem) => problems.push(`${node}: ${problem}`),
    onGone: (node) => gone.push(node),
  });
  t.teardown(() => agents.close());
  const until = (what: string, holds: () => boolean) =>
    pollUntil(what, PATIENCE_MS, async () => (holds() ? true : undefined));
  return { agents, seen, problems, gone, until };
}

const endpointOf = ({ nodeName, address }: TopologyAgent): AgentEndpoint => ({ node: nodeName, address });

await t.test('every change comes with the allocations of the same version', async (t) => {
  const [one, two] = [await startAgent(t, 'one'), await startAgent(t, 'two')];
  const { agents, seen, until } = follow(t);
  agents.follow([endpointOf(one), endpointOf(two)]);
  await until('both agents', () => seen.size === 2);
  for (let index = 0; index < 30; index += 1) {
    if (index % 3 === 2) one.remove(`pod-${index - 1}`);
    else one.create(exclusivePod(`pod-${index}`, 1));
    if (index % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await until('the last change', () => seen.get('one')?.topology.version === one.version);
  const { topology, allocations } = seen.get('one') ?? {};
  t.equal(allocations?.version, topology?.version);
  t.equal(allocations?.pods.length, one.ledger.holdings().length);
  t.equal(seen.get('two')?.topology.version, two.version);
});

await t.test('an agent that went away is followed again when it is back, and others are not disturbed', async (t) => {
  const [one, two] = [await startAgent(t, 'one'), await startAgent(t, 'two')];
  const { agents, seen, problems, until } = follow(t);
  agents.follow([endpointOf(one), endpointOf(two)]);
  await until('both agents', () => seen.size === 2);
  one.stop();
  await until('its loss', () => problems.length > 2);
  t.ok(problems.every((problem) => problem.startsWith('one: ')));
  seen.clear();
  one.create(exclusivePod('while-away', 2));
  await one.start();
  await until('its return', () => seen.has('one'));
  t.match(seen.get('one')?.allocations.pods, [{ uid: 'while-away' }]);
});

await t.test('a node that is gone is let go of, one with another address is connected to anew', async (t) => {
  const [one, two] = [await startAgent(t, 'node'), await startAgent(t, 'node')];
  const { agents, seen, gone, until } = follow(t);
  agents.follow([endpointOf(one)]);
  await until('the agent', () => seen.has('node'));
  two.create(exclusivePod('only-there', 1));
  agents.follow([endpointOf(two)]);
  await until('the other one', () => seen.get('node')?.allocations.pods.length === 1);
  t.same(gone, []);
  agents.follow([]);
  t.same([gone, agents.size], [['node'], 0]);
});

await t.test('an agent that answers for another node is not believed', async (t) => {
  const agent = await startAgent(t, 'one');
  const { agents, seen, problems, until } = follow(t);
  agents.follow([{ node: 'other', address: agent.address }]);
  await until('the problem', () => problems.length > 0);
  t.match(problems[0], /answers for node one, not other/);
  t.equal(seen.size, 0);
});

await t.test('a server that accepts and says nothing is given up', async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { agents, problems, until } = follow(t, undefined, { ...TIMES, connectMs: 200 });
  agents.follow([{ node: 'mute', address: `127.0.0.1:${typeof address === 'object' ? address?.port : 0}` }]);
  await until('the problem', () => problems.length > 2);
  t.match(problems[0], /nothing came of it within/);
  t.equal(sockets.length, 1, 'and not connected to again and again');
});

await t.test('with certificates both sides must be who they say', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-extender-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const authority = await makeAuthority(folder);
  const [own, agentPair] = [await authority.issue('extender'), await authority.issue('one', 'DNS:one')];
  const files = {
    caFile: join(folder, 'ca.crt'),
    certificateFile: join(folder, 'c.pem'),
    keyFile: join(folder, 'k.pem'),
  };
  await writeFile(files.certificateFile, own.cert);
  await writeFile(files.keyFile, own.key);
  const agent = new TopologyAgent('one', evenHost(1, 2, 1));
  await agent.start({ ...agentPair, ca: authority.ca });
  t.teardown(() => agent.stop());

  await t.test('the certificate bears the name of the node', async (t) => {
    const { agents, seen, until } = follow(t, { ...files, verify: 'nodeName' });
    agents.follow([endpointOf(agent)]);
    await until('the agent', () => seen.has('one'));
  });
  await t.test('a certificate of another name is refused', async (t) => {
    const { agents, seen, problems, until } = follow(t, { ...files, verify: 'address' });
    agents.follow([endpointOf(agent)]);
    await until('the problem', () => problems.length > 0);
    t.match(problems[0], /127\.0\.0\.1|UNAVAILABLE/);
    t.equal(seen.size, 0);
  });
  await t.test('a connector without certificates is refused', async (t) => {
    const { agents, seen, problems, until } = follow(t);
    agents.follow([endpointOf(agent)]);
    await until('the problem', () => problems.length > 0);
    t.equal(seen.size, 0);
  });
  await t.test('files that cannot be used are named', async (t) => {
    const { agents, problems, until } = follow(t, { ...files, keyFile: join(folder, 'absent'), verify: 'nodeName' });
    agents.follow([endpointOf(agent)]);
    await until('the problem', () => problems.length > 0);
    t.match(problems[0], /agents\.tls.*absent/);
  });
});
