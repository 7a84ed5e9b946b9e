// The client of the agents' API against real servers: joining versions, losing and finding agents again, certificates.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { Agents, type ConnectingAtATime } from '../../../extender/agents/agents.ts';
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

/**
 * A server that accepts and says nothing, as one behind a firewall that drops what it is sent.
 * @param hangUpMs - after which it ends each connection
 */
async function startMute(t: Test, hangUpMs?: number) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    // One that was on its way when the test ended.
    if (server.listening) sockets.push(socket);
    else socket.destroy();
    if (hangUpMs !== undefined) setTimeout(() => socket.destroy(), hangUpMs).unref();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { sockets, address: `127.0.0.1:${typeof address === 'object' ? address?.port : 0}` };
}

function follow(t: Test, tls?: AgentTls, times = TIMES, atATime?: ConnectingAtATime) {
  const connector = new AgentConnector(tls);
  const seen = new Map<string, Published>();
  const problems: string[] = [];
  const gone: string[] = [];
  const agents = new Agents({
    connect: (endpoint) => connector.connect(endpoint),
    times,
    ...(atATime && { atATime }),
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
  const { agents, seen, problems, gone, until } = follow(t);
  agents.follow([endpointOf(one)]);
  await until('the agent', () => seen.has('node'));
  two.create(exclusivePod('only-there', 1));
  agents.follow([endpointOf(two)]);
  t.same(problems, ['node: its address has changed'], 'from now on its last word ages');
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
  const { sockets, address } = await startMute(t);
  const { agents, problems, until } = follow(t, undefined, { ...TIMES, connectMs: 200 });
  agents.follow([{ node: 'mute', address }]);
  await until('the problem', () => problems.length > 2);
  t.match(problems[0], /nothing came of it within/);
  t.equal(sockets.length, 1, 'and not connected to again and again');
});

await t.test('servers that say nothing do not keep others from being connected to', async (t) => {
  const { address } = await startMute(t);
  const mute = Array.from({ length: 20 }, (_, index) => ({ node: `mute-${index}`, address }));
  const live = await startAgent(t, 'live');
  // No attempt ends while the test lasts: only their places are given back.
  const times = { ...TIMES, connectMs: 600_000, placeMs: 5 };
  const { agents, seen, until } = follow(t, undefined, times, { prompt: 2, doubtful: 1 });
  agents.follow([...mute, endpointOf(live)]);
  t.equal(agents.untried, 21);
  await until('the agent behind them', () => seen.has('live'));
  await until('every one to have had its turn', () => agents.untried === 0);
});

await t.test('an agent that was alive a moment ago does not wait behind those that failed', async (t) => {
  const { address } = await startMute(t, 50);
  const [live, unreached] = [await startAgent(t, 'live'), await startAgent(t, 'unreached')];
  unreached.stop();
  const times = { ...TIMES, placeMs: 600_000 };
  const { agents, seen, problems, until } = follow(t, undefined, times, { prompt: 1, doubtful: 1 });
  agents.follow([endpointOf(live)]);
  await until('the agent', () => seen.has('live'));
  // The place of the doubtful is never free for long from here on: whoever has it keeps it until its attempt ends.
  const failed = Array.from({ length: 20 }, (_, index) => ({ node: `mute-${index}`, address }));
  agents.follow([...failed, endpointOf(live), endpointOf(unreached)]);
  await until('all of them to fail', () => agents.untried === 0);
  live.stop();
  await until('its loss', () => problems.some((problem) => problem.startsWith('live')));
  const before = problems.filter((problem) => problem.startsWith('mute')).length;
  seen.clear();
  await live.start();
  await until('its return', () => seen.has('live'));
  const passed = problems.filter((problem) => problem.startsWith('mute')).length - before;
  t.ok(passed < 20, `it did not wait for a round of the others, of whom ${passed} had a turn`);
  await unreached.start();
  await until('the one that was never reached, too', () => seen.has('unreached'));
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
