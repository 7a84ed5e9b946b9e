// The extender as kube-scheduler sees it: real HTTP in front, real gRPC agents behind; the test is the scheduler and the API.
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { AGENT_TIMES } from '../../../extender/agents/follow-agent.ts';
import { parseExtenderConfig } from '../../../extender/config/load.ts';
import { readClusterPod } from '../../../extender/discovery/cluster-pod.ts';
import { type Extender, startExtender } from '../../../extender/extender.ts';
import { MAX_BODY_BYTES } from '../../../extender/http/read-body.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';
import { exclusivePod, REQUIRED_EXCLUSIVE } from '../../support/random-pods.ts';
import { TopologyAgent } from '../../support/topology-agent.ts';

const PATIENCE_MS = 120_000;
const until = (what: string, holds: () => boolean) =>
  pollUntil(what, PATIENCE_MS, async () => (holds() ? true : undefined));

interface FilterResult {
  readonly Nodes: { readonly kind?: string; readonly items: readonly unknown[] } | null;
  readonly NodeNames: readonly string[] | null;
  readonly FailedNodes: Readonly<Record<string, string>>;
}

class Scheduler {
  readonly #extender: Extender;
  #version = 100;

  constructor(extender: Extender) {
    this.#extender = extender;
  }

  async post(path: string, body: string): Promise<{ readonly code: number; readonly text: string }> {
    const response = await fetch(`http://127.0.0.1:${this.#extender.port}${path}`, { method: 'POST', body });
    return { code: response.status, text: await response.text() };
  }

  async filter(pod: unknown, names: readonly string[]): Promise<FilterResult> {
    const { code, text } = await this.post('/filter', JSON.stringify({ Pod: pod, Nodes: null, NodeNames: names }));
    if (code !== 200) throw new Error(`${code}: ${text}`);
    return JSON.parse(text) as FilterResult;
  }

  async scores(pod: unknown, names: readonly string[]): Promise<Readonly<Record<string, number>>> {
    const { text } = await this.post('/prioritize', JSON.stringify({ Pod: pod, NodeNames: names }));
    const list = JSON.parse(text) as readonly { readonly Host: string; readonly Score: number }[];
    return Object.fromEntries(list.map(({ Host, Score }) => [Host, Score]));
  }

  /** What the API's watch would tell. */
  tell(pod: ReturnType<typeof apiPod>, change: { readonly nodeName?: string; readonly unschedulable?: string }): void {
    this.#version += 1;
    const conditions =
      change.unschedulable === undefined
        ? []
        : [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: change.unschedulable }];
    const metadata = { ...pod.metadata, resourceVersion: `${this.#version}` };
    const spec = { ...pod.spec, nodeName: change.nodeName };
    this.#extender.scheduling.onPod(readClusterPod({ metadata, spec, status: { conditions } }));
  }
}

/** A pod as the API has it: `cpus` of its own, from one NUMA node. */
function apiPod(name: string, cpus: number, annotations: Readonly<Record<string, string>> = REQUIRED_EXCLUSIVE) {
  const limits = { cpu: `${cpus}`, memory: '1Gi' };
  return {
    metadata: { uid: name, name, namespace: 'default', annotations },
    spec: { containers: [{ name: 'app', resources: { limits } }] },
  };
}

/** Nodes `a` with two NUMA nodes of 4 CPUs, `b` of 2 CPUs; CPU 0 of each is left to the pool. */
async function start(t: Test, more = '') {
  const agents = {
    a: new TopologyAgent('a', evenHost(2, 4, 1)),
    b: new TopologyAgent('b', evenHost(2, 2, 1)),
  };
  for (const agent of Object.values(agents)) {
    await agent.start();
    t.teardown(() => agent.stop());
  }
  const endpoints = Object.values(agents).map(({ nodeName, address }) => `{node: ${nodeName}, address: "${address}"}`);
  const config = parseExtenderConfig(
    'test.yaml',
    `apiVersion: holdfast.dev/v1
kind: ExtenderConfig
listen: {address: "127.0.0.1:0"}
inFlight: {ttl: 60s, wait: 60s}
agents:
  maxAge: 60s
  endpoints: [${endpoints.join(', ')}]
`.replace(...splitReplacement(more)),
  );
  const agentTimes = { ...AGENT_TIMES, pauseMs: 20, longestPauseMs: 50 };
  const extender = await startExtender({ config, logger: pino({ level: 'silent' }), agentTimes });
  t.teardown(() => extender.close());
  await until('both agents', () => extender.fleet.count().known === 2);
  return { ...agents, extender, scheduler: new Scheduler(extender) };
}

function splitReplacement(more: string): [string, string] {
  const [from = '', to = ''] = more.split(' → ');
  return [from, to];
}

const BOTH = ['a', 'b'];

await t.test('a required pod may go where it fits, and every other node says why not', async (t) => {
  const { a, scheduler } = await start(t);
  const pod = apiPod('p', 4);
  t.match(await scheduler.filter(pod, [...BOTH, 'c']), {
    NodeNames: ['a'],
    Nodes: null,
    FailedNodes: { b: /node 0: 2 of 4 CPUs free/, c: /no Holdfast agent is known/ },
  });
  a.create(exclusivePod('x', 4));
  a.create(exclusivePod('y', 3));
  await pollUntil('the news', PATIENCE_MS, async () => {
    const { NodeNames } = await scheduler.filter(pod, BOTH);
    return NodeNames?.length === 0 ? true : undefined;
  });
  const shared = apiPod('q', 4, {});
  t.match(await scheduler.filter(shared, [...BOTH, 'c']), { NodeNames: [...BOTH, 'c'], FailedNodes: {} }, 'not asked');
});

await t.test('whole nodes come back as they were sent', async (t) => {
  const { scheduler } = await start(t);
  const items = BOTH.map((name) => ({ metadata: { name, labels: { kept: name } }, unknown: [1, { two: 2 }] }));
  const body = { pod: apiPod('p', 4), nodes: { kind: 'NodeList', metadata: {}, items } };
  const { text } = await scheduler.post('/filter', JSON.stringify(body));
  const { Nodes, NodeNames, FailedNodes } = JSON.parse(text) as FilterResult;
  t.same(Nodes, { kind: 'NodeList', metadata: {}, items: [items[0]] });
  t.equal(NodeNames, null);
  t.same(Object.keys(FailedNodes), ['b']);
});

await t.test('nodes are ranked by the strategy, and those where a preferred pod does not fit come last', async (t) => {
  const { scheduler } = await start(t);
  const scores = await scheduler.scores(apiPod('p', 2), BOTH);
  t.ok((scores['b'] ?? 0) > (scores['a'] ?? 0), `pack: ${JSON.stringify(scores)}`);
  const preferred = { ...REQUIRED_EXCLUSIVE, 'holdfast.dev/numa': 'preferred' };
  t.match(await scheduler.scores(apiPod('p', 4, preferred), BOTH), { b: 0 });
  const spread = await start(t, 'agents: → numa: {strategy: spread}\nagents:');
  const other = await spread.scheduler.scores(apiPod('p', 2), BOTH);
  t.ok((other['a'] ?? 0) > (other['b'] ?? 0), `spread: ${JSON.stringify(other)}`);
});

await t.test('two quick pods do not share the last place', async (t) => {
  const { a, extender, scheduler } = await start(t);
  a.create(exclusivePod('there', 4));
  await until('the news', () => extender.fleet.view('a').kind === 'known');
  await pollUntil('one place to be left', PATIENCE_MS, async () => {
    const view = extender.fleet.view('a');
    return view.kind === 'known' && view.node.room.poolSize === 4 ? true : undefined;
  });
  const [first, second] = [apiPod('first', 3), apiPod('second', 3)];
  t.same((await scheduler.filter(first, BOTH)).NodeNames, ['a']);
  const waiting = scheduler.filter(second, BOTH);
  t.equal(await Promise.race([waiting.then(() => 'answered'), delay(200, 'waits')]), 'waits');
  // Bound, but its node has not heard of it yet.
  scheduler.tell(first, { nodeName: 'a' });
  t.match(await waiting, { NodeNames: [], FailedNodes: { a: /of 3 CPUs free/ } });
  t.equal(extender.inFlight.size, 0);
  // The node takes it: counted once.
  a.create(exclusivePod('first', 3));
  scheduler.tell(second, { unschedulable: 'no place' });
  extender.scheduling.onPodGone('first');
  a.remove('first');
  await pollUntil('the place to be free', PATIENCE_MS, async () => {
    return (await scheduler.filter(second, BOTH)).NodeNames?.length === 1 ? true : undefined;
  });
});

await t.test('a pod in flight that is deleted, or finds no place after all, leaves it to who waits', async (t) => {
  const { scheduler, extender } = await start(t);
  const [first, second] = [apiPod('first', 4), apiPod('second', 4)];
  await scheduler.filter(first, BOTH);
  const waiting = scheduler.filter(second, BOTH);
  await delay(50);
  extender.scheduling.onPodGone('first');
  t.same((await waiting).NodeNames, ['a']);
  const third = scheduler.filter(first, BOTH);
  await delay(50);
  scheduler.tell(second, { unschedulable: 'its volume is elsewhere' });
  t.same((await third).NodeNames, ['a']);
});

await t.test('the word of an earlier attempt does not end a flight', async (t) => {
  const { scheduler, extender } = await start(t);
  const pod = apiPod('p', 4);
  const conditions = [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'earlier' }];
  await scheduler.filter({ ...pod, status: { conditions } }, BOTH);
  scheduler.tell(pod, { unschedulable: 'earlier' });
  t.equal(extender.inFlight.size, 1);
  scheduler.tell(pod, { unschedulable: 'now' });
  t.equal(extender.inFlight.size, 0);
});

await t.test('who waited in vain is told for whom, and a flight of which nothing is heard ends', async (t) => {
  const { scheduler } = await start(t, 'wait: 60s → wait: 50ms');
  await scheduler.filter(apiPod('first', 4), BOTH);
  t.match(await scheduler.filter(apiPod('second', 4), BOTH), {
    NodeNames: [],
    FailedNodes: { a: /only while default\/first, which may be going there, does not/, b: /2 of 4 CPUs/ },
  });
  const short = await start(t, 'ttl: 60s, wait: 60s → ttl: 100ms, wait: 100ms');
  await short.scheduler.filter(apiPod('first', 4), BOTH);
  t.same((await short.scheduler.filter(apiPod('second', 4), BOTH)).NodeNames, ['a']);
});

await t.test('a lost agent is believed until its data is too old, then treated as configured', async (t) => {
  const patient = await start(t);
  patient.a.stop();
  t.same((await patient.scheduler.filter(apiPod('p', 4), BOTH)).NodeNames, ['a']);
  const hasty = await start(t, 'maxAge: 60s → maxAge: 1ms');
  hasty.a.stop();
  await until('the loss', () => hasty.extender.fleet.view('a').kind === 'lost');
  t.match(await hasty.scheduler.filter(apiPod('p', 4), BOTH), {
    NodeNames: [],
    FailedNodes: { a: /its Holdfast agent was lost/ },
  });
  await hasty.a.start();
  await until('its return', () => hasty.extender.fleet.view('a').kind === 'known');
  t.same((await hasty.scheduler.filter(apiPod('p', 4), BOTH)).NodeNames, ['a']);
  const lenient = await start(t, 'maxAge: 60s → maxAge: 1ms\n  onLost: allow\n  onUnknown: allow');
  lenient.a.stop();
  await until('the loss', () => lenient.extender.fleet.view('a').kind === 'lost');
  t.same((await lenient.scheduler.filter(apiPod('p', 4), [...BOTH, 'c'])).NodeNames, ['a', 'c']);
});

await t.test('before anything is known a required pod is told to come again, others are not held up', async (t) => {
  const config = parseExtenderConfig(
    'test.yaml',
    `apiVersion: holdfast.dev/v1
kind: ExtenderConfig
listen: {address: "127.0.0.1:0", health: "127.0.0.1:0"}
kubernetes: {kubeconfig: /does/not/exist}
agents: {plaintext: allow}
`,
  );
  const extender = await startExtender({ config, logger: pino({ level: 'silent' }) });
  t.teardown(() => extender.close());
  const scheduler = new Scheduler(extender);
  const answer = await scheduler.post('/filter', JSON.stringify({ Pod: apiPod('p', 4), NodeNames: BOTH }));
  t.equal(answer.code, 503);
  t.match(answer.text, /just started: the nodes and pods of the cluster are not listed yet/);
  t.same((await scheduler.filter(apiPod('q', 4, {}), BOTH)).NodeNames, BOTH);
  const health = async (path: string) => (await fetch(`http://127.0.0.1:${extender.healthPort}${path}`)).status;
  t.same([await health('/healthz'), await health('/readyz')], [200, 503], 'on the port for probes, too');
  t.same([await health('/metrics'), await health('/filter')], [404, 404], 'and nothing else there');
});

await t.test('bad requests are answered, and the next ones too', async (t) => {
  const { scheduler, extender } = await start(t);
  const pod = apiPod('p', 4);
  for (const [path, body, code, said] of [
    ['/filter', '{', 400, /not JSON/],
    ['/filter', '[]', 400, /no object/],
    ['/filter', '{"NodeNames":[]}', 400, /no Pod/],
    ['/filter', JSON.stringify({ Pod: pod }), 400, /neither NodeNames nor Nodes/],
    ['/filter', JSON.stringify({ Pod: { metadata: { name: 'p' } }, NodeNames: [] }), 400, /a pod/],
    ['/filter', JSON.stringify({ Pod: pod, NodeNames: [1] }), 400, /no list of names/],
    ['/prioritize', JSON.stringify({ Pod: pod, Nodes: { items: [{}] } }), 400, /has no name/],
    ['/filter', JSON.stringify({ Pod: { ...pod, metadata: { name: 'p' } }, NodeNames: [] }), 400, /no UID/],
    ['/nothing', '', 404, /\/filter/],
    ['/readyz', '', 405, /GET/],
  ] as const) {
    const answer = await scheduler.post(path, body);
    t.equal(answer.code, code, `${path} ${body.slice(0, 40)}: ${answer.text}`);
    t.match(answer.text, said);
  }
  const huge = scheduler.post('/filter', 'x'.repeat(MAX_BODY_BYTES + 1));
  t.match(await huge.catch((error: unknown) => ({ code: 413, cut: error })), { code: 413 });
  const readyz = await fetch(`http://127.0.0.1:${extender.port}/readyz`);
  t.equal(readyz.status, 200);
  const metrics = await (await fetch(`http://127.0.0.1:${extender.port}/metrics`)).text();
  t.match(metrics, /holdfast_extender_nodes\{agent="known"\} 2/);
  t.match(metrics, /holdfast_extender_requests_total\{code="400"\} 8/);
});
