// An agent's topology service under 200 watchers (topology-service.ts), and the scheduler's extender: 500 real gRPC streams
// from agents in another process; filter and prioritize over 5,000 nodes through HTTP; how soon a change of one node is
// seen. The 5,000 are real machines, where the test data has their trees.
import { fork } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { formatTable } from '../../agent/cli/output.ts';
import { pollUntil } from '../../agent/cli/quickstart/poll.ts';
import { Ledger } from '../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../agent/cpuset/machine.ts';
import { planPod } from '../../agent/cpuset/plan-pod.ts';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../agent/model/host-topology.ts';
import { parseExtenderConfig } from '../../extender/config/load.ts';
import { type Extender, startExtender } from '../../extender/extender.ts';
import { Machines } from '../../extender/planning/machines.ts';
import { planHost } from '../../extender/planning/plan-host.ts';
import { evenHost } from '../support/hand-made-hosts.ts';
import { publish } from '../support/published-host.ts';
import { exclusivePod, REQUIRED_EXCLUSIVE } from '../support/random-pods.ts';
import { PLAN_RULES } from '../support/topology-agent.ts';
import type { Answer, Change } from './extender-agents.ts';
import { quantile, time } from './measure.ts';
import { readMachines } from './real-machines.ts';
import { benchService } from './topology-service.ts';

const STREAMS = 500;
const NODES = 5000;
const REQUESTS = 100;
const NOTHING: Readonly<Record<string, string>> = {};
const WARM_UP = 15;
const CHANGES = 200;
const PODS_PER_NODE = 10;
/** As many as every order is planned of, where counting does not say. */
const IN_FLIGHT = 3;
const PATIENCE_MS = 300_000;

/** What a pod asks for: whole CPUs, and bytes. */
interface Size {
  readonly cpus: number;
  readonly memory: number;
}

const shown = (value: number): string => `${value.toFixed(1)} ms`;
const memory = (): string => `${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`;

function newExtender(endpoints: readonly object[]): Promise<Extender> {
  const text = JSON.stringify({
    apiVersion: 'holdfast.dev/v1',
    kind: 'ExtenderConfig',
    listen: { address: '127.0.0.1:0' },
    agents: { endpoints },
  });
  return startExtender({ config: parseExtenderConfig('bench', text), logger: pino({ level: 'silent' }) });
}

async function benchStreams(): Promise<void> {
  const program = fileURLToPath(new URL('extender-agents.ts', import.meta.url));
  const child = fork(program, [`${STREAMS}`], { execArgv: ['--import=tsx'] });
  const answers = on(child, 'message');
  const answer = async (): Promise<Answer> => ((await answers.next()).value as [Answer])[0];
  let extender: Extender | undefined;
  try {
    const first = await answer();
    if (!('endpoints' in first)) throw new Error('the agents did not begin with their addresses');
    const nodes = new Set(first.endpoints.map(({ node }) => node));
    const before = memory();
    const connecting = performance.now();
    const made = await newExtender(first.endpoints);
    extender = made;
    await pollUntil('all agents', PATIENCE_MS, async () => (made.fleet.count().known === STREAMS ? true : undefined));
    const connected = performance.now() - connecting;
    const seen: number[] = [];
    for (let index = 0; index < CHANGES; index += 1) {
      const agent = index % STREAMS;
      const change: Change = { agent, pod: `change-${index}` };
      const visible = made.fleet.news.of(nodes, 2 * PATIENCE_MS, AbortSignal.timeout(PATIENCE_MS));
      child.send(change);
      const told = await answer();
      await visible;
      if ('at' in told) seen.push(performance.timeOrigin + performance.now() - told.at);
    }
    process.stdout.write(
      formatTable(
        ['streams', 'connected in', 'memory before', 'memory after', 'change seen p50', 'p99'],
        [[`${STREAMS}`, shown(connected), before, memory(), shown(quantile(seen, 0.5)), shown(quantile(seen, 0.99))]],
      ),
    );
  } finally {
    await extender?.close();
    child.disconnect();
    await once(child, 'exit');
  }
}

function fill(extender: Extender, models: readonly HostTopology[]): readonly string[] {
  const machines = new Machines();
  return Array.from({ length: NODES }, (_, index) => {
    const model = models[index % models.length] ?? evenHost(1, 1, 1);
    const ledger = new Ledger(buildMachine(model, CpuSet.from([...model.usableCpus].slice(0, 1))), PLAN_RULES);
    for (let pod = 0; pod < index % PODS_PER_NODE; pod += 1) {
      const { identity, need } = exclusivePod(`${index}-${pod}`, 1 + ((index + pod) % 4), 2 ** 26);
      const plan = planPod(ledger.room, identity, need);
      if (plan.ok) ledger.set(plan.holding);
    }
    const name = `node-${index}`;
    const { topology, allocations } = publish(ledger, 1n, name);
    extender.fleet.publish(name, planHost(topology, allocations, machines, PLAN_RULES));
    return name;
  });
}

async function benchRequests(): Promise<void> {
  const models = await readMachines(NODES);
  const extender = await newExtender([]);
  try {
    const before = memory();
    const names = fill(extender, models);
    const after = memory();
    const ask = async (
      verb: string,
      name: string,
      { cpus, memory }: Size,
      annotations: Readonly<Record<string, string>> = REQUIRED_EXCLUSIVE,
    ): Promise<void> => {
      const limits = { cpu: `${cpus}`, memory: `${memory}` };
      const metadata = { uid: name, name, namespace: 'default', annotations };
      const Pod = { metadata, spec: { containers: [{ name: 'app', resources: { limits } }] } };
      const body = JSON.stringify({ Pod, NodeNames: names });
      const response = await fetch(`http://127.0.0.1:${extender.port}/${verb}`, { method: 'POST', body });
      await response.arrayBuffer();
      if (response.status !== 200) throw new Error(`${verb} was answered ${response.status}`);
    };
    const both = async (
      name: string,
      size: Size,
      annotations: Readonly<Record<string, string>> = REQUIRED_EXCLUSIVE,
    ): Promise<void> => {
      await ask('filter', name, size, annotations);
      await ask('prioritize', name, size, annotations);
    };
    const rows: string[][] = [];
    const measure = async (what: string, each: (index: number) => Promise<void>): Promise<void> => {
      const samples: number[] = [];
      const cpu: number[] = [];
      for (let index = -WARM_UP; index < REQUESTS; index += 1) {
        const before = process.cpuUsage();
        const took = await time(() => each(index));
        const { user, system } = process.cpuUsage(before);
        if (index < 0) continue;
        samples.push(took);
        cpu.push((user + system) / 1000);
      }
      const of = (values: readonly number[]) => [shown(quantile(values, 0.5)), shown(quantile(values, 0.99))];
      rows.push([what, `${REQUESTS}`, ...of(samples), ...of(cpu)]);
    };
    let turn = 0;
    // As the pods of seven Deployments: after the warm-up every node's answer is known.
    const seen = (): Size => ({ cpus: 1 + (++turn % 7), memory: 2 ** 26 });
    // No two have the same memory: every node is asked anew.
    const unseen = (): Size => ({ ...seen(), memory: 2 ** 26 + turn });
    const { scheduling } = extender;
    // Nothing is planned: what both sides of HTTP take for 5,000 names.
    await measure('a pod that asks for nothing', (index) => both(`plain-${index}`, seen(), NOTHING));
    await measure('cached: asked for before', async (index) => {
      await both(`cached-${index}`, seen());
      scheduling.onPodGone(`cached-${index}`);
    });
    await measure('cold: never asked for before', async (index) => {
      await both(`cold-${index}`, unseen());
      scheduling.onPodGone(`cold-${index}`);
    });
    await measure('cold, fits nowhere: a reason per node', (index) =>
      both(`huge-${index}`, { ...unseen(), cpus: 1000 + index }),
    );
    await measure(`cold, ${IN_FLIGHT} pods in flight everywhere`, async (index) => {
      await both(`flying-${index}`, unseen());
      scheduling.onPodGone(`flying-${index - IN_FLIGHT}`);
    });
    process.stdout.write(formatTable(['filter + prioritize', 'n', 'p50', 'p99', 'CPU p50', 'CPU p99'], rows));
    process.stdout.write(`\nmemory before the nodes ${before}, with ${NODES} nodes ${after}, at the end ${memory()}\n`);
  } finally {
    await extender.close();
  }
}

export async function run(): Promise<void> {
  await benchService();
  await benchStreams();
  await benchRequests();
}
