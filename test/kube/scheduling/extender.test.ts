// The real scheduler of Kubernetes with the extender beside it: required pods land where they fit, and nowhere else. The
// nodes are objects in the API, their agents the real topology service over the real planner's books.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CoreV1Api, KubeConfig, type V1Pod } from '@kubernetes/client-node';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import type { Program } from '../../../agent/cli/quickstart/program.ts';
import { readPod } from '../../../agent/cluster/pod-manifest.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { parseExtenderConfig } from '../../../extender/config/load.ts';
import { startExtender } from '../../../extender/extender.ts';
import { isImpossible, planAsk } from '../../../extender/planning/plan-ask.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';
import { NO_POLICY_RULES } from '../../support/published-host.ts';
import { REQUIRED_EXCLUSIVE } from '../../support/random-pods.ts';
import { TopologyAgent } from '../../support/topology-agent.ts';
import { kubernetesPrograms } from '../build/kubernetes.ts';
import { NEEDS_ROOT } from '../cluster/cluster.ts';
import { prepareControlPlane } from '../cluster/control-plane.ts';
import { createKubectl } from '../cluster/kubectl.ts';
import { freePort } from '../cluster/ports.ts';
import { until } from '../cluster/wait.ts';

const NAMESPACE = 'default';
// Three programs of Kubernetes are started: on a busy machine that alone takes longer than a test file usually may.
t.setTimeout(600_000);

const ACCOUNT = 'system:serviceaccount:holdfast-system:holdfast-extender';
const deployed = (name: string): string => fileURLToPath(new URL(`../../../deploy/${name}`, import.meta.url));

/** A node of which the scheduler knows totals only: 64 CPUs, as many as make it think that everything fits. */
function node(name: string, address: string) {
  const resources = { cpu: '64', memory: '256Gi', pods: '110' };
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    status: {
      capacity: resources,
      allocatable: resources,
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'Test', message: 'made by a test' }],
    },
  };
}

function pod(name: string, cpus: number, annotations: Readonly<Record<string, string>> = REQUIRED_EXCLUSIVE): V1Pod {
  const resources = { limits: { cpu: `${cpus}`, memory: '1Gi' } };
  return {
    metadata: { name, namespace: NAMESPACE, annotations: { ...annotations } },
    spec: { automountServiceAccountToken: false, containers: [{ name: 'app', image: 'none', resources }] },
  };
}

/** etcd, API server, scheduler; two nodes with two NUMA nodes of 4 CPUs, one CPU of each host reserved. */
async function start(t: Test) {
  const programs = await kubernetesPrograms();
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-scheduling-'));
  const running: Program[] = [];
  t.teardown(async () => {
    for (const program of running) await program.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });
  const [extenderPort, agentPort] = [await freePort(), await freePort()];
  const { extenders } = parse(await readFile(deployed('extender-scheduler.yaml'), 'utf8')) as {
    readonly extenders: readonly { readonly [key: string]: unknown }[];
  };
  // As deployed, but a sidecar: on loopback, without TLS.
  const local = extenders.map((each) => {
    const rest = Object.entries(each).filter(([key]) => key !== 'tlsConfig');
    const sidecar = { urlPrefix: `http://127.0.0.1:${extenderPort}`, enableHTTPS: false, ignorable: false };
    return { ...Object.fromEntries(rest), ...sidecar };
  });
  const plane = await prepareControlPlane(programs, join(folder, 'control-plane'), local);
  for (const program of [plane.etcd, plane.apiServer]) {
    running.unshift(program);
    await program.start();
  }
  const configuration = new KubeConfig();
  configuration.loadFromFile(plane.users.kubeconfigs.admin);
  const core = configuration.makeApiClient(CoreV1Api);
  const { kubectl } = createKubectl(programs, plane.users.kubeconfigs.admin, join(folder, 'kubectl'));
  // This API server is too old for policy/v1 (1.21).
  const manifests = (await readFile(deployed('extender.yaml'), 'utf8')).split(/^---$/m);
  const known = join(folder, 'extender.yaml');
  await writeFile(known, manifests.filter((each) => !each.includes('apiVersion: policy/v1\n')).join('---'));
  await kubectl('apply', '--filename', deployed('rbac.yaml'), '--filename', known);
  await until('the namespace of the pods', async () => (await core.readNamespace({ name: NAMESPACE })) !== undefined);
  await core.createNamespacedServiceAccount({ namespace: NAMESPACE, body: { metadata: { name: 'default' } } });

  const agents = new Map<string, TopologyAgent>();
  for (const [name, host] of [
    ['one', '127.0.7.1'],
    ['two', '127.0.7.2'],
  ] as const) {
    const agent = new TopologyAgent(name, evenHost(2, 4, 1), { reserved: CpuSet.of(0), at: { host, port: agentPort } });
    await agent.start();
    t.teardown(() => agent.stop());
    agents.set(name, agent);
    await core.createNode({ body: node(name, host) });
    // No controller is there that would take away the taint of a new node.
    await kubectl('patch', 'node', name, '--type=merge', '--patch', '{"spec":{"taints":[]}}');
  }

  // The rights of the service account in deploy/.
  const kubeconfig = join(folder, 'extender.kubeconfig');
  const { users, ...rest } = parse(await readFile(plane.users.kubeconfigs.admin, 'utf8')) as {
    readonly users: readonly { readonly name: string; readonly user: object }[];
  };
  const impersonating = users.map(({ name, user }) => ({ name, user: { ...user, as: ACCOUNT } }));
  await writeFile(kubeconfig, stringify({ ...rest, users: impersonating }));
  const config = parseExtenderConfig(
    'test.yaml',
    stringify({
      apiVersion: 'holdfast.dev/v1',
      kind: 'ExtenderConfig',
      listen: { address: `127.0.0.1:${extenderPort}` },
      kubernetes: { kubeconfig },
      agents: { port: agentPort, plaintext: 'allow' },
    }),
  );
  const extender = await startExtender({ config, logger: pino({ level: 'warn' }, pino.destination(2)) });
  t.teardown(() => extender.close());
  await until('the extender to know both agents', async () => extender.fleet.count().known === 2);
  running.unshift(plane.scheduler);
  await plane.scheduler.start();

  const boundTo = async (name: string): Promise<string | undefined> =>
    (await core.readNamespacedPod({ namespace: NAMESPACE, name })).spec?.nodeName;
  const reasonOf = async (name: string): Promise<string> => {
    const { status } = await core.readNamespacedPod({ namespace: NAMESPACE, name });
    const condition = status?.conditions?.find(({ type }) => type === 'PodScheduled');
    return condition?.status === 'False' ? (condition.message ?? '') : '';
  };
  /** What the kubelet and the agent of its node do once they hear of it. */
  const arrive = async (name: string): Promise<boolean> => {
    const found = await core.readNamespacedPod({ namespace: NAMESPACE, name });
    const ask = planAsk(readPod(JSON.parse(JSON.stringify(found))), NO_POLICY_RULES);
    return !isImpossible(ask) && agents.get(found.spec?.nodeName ?? '')?.create(ask) === true;
  };
  const make = (...pods: readonly V1Pod[]) =>
    Promise.all(pods.map((body) => core.createNamespacedPod({ namespace: NAMESPACE, body })));
  return { agents, core, kubectl, boundTo, reasonOf, arrive, make };
}

await t.test('the scheduler places what needs a NUMA node', { skip: NEEDS_ROOT }, async (t) => {
  const { agents, core, boundTo, reasonOf, arrive, make } = await start(t);
  const quick = ['first', 'second', 'third'];

  await t.test('of three quick pods for two places two are bound, to different nodes', async (t) => {
    // No node hears of any before all are decided.
    await make(...quick.map((name) => pod(name, 4)));
    // A scheduler that has just started may see pods before it sees nodes: it then refuses all for want of nodes, for now.
    await until('every one to be decided by nodes', async () => {
      const nodes = await Promise.all(quick.map(boundTo));
      const reasons = await Promise.all(quick.map(reasonOf));
      const isDecided = nodes.every((node, index) => node !== undefined || reasons[index] !== '');
      return isDecided && nodes.filter((node) => node !== undefined).length >= 2;
    });
    const nodes = await Promise.all(quick.map(boundTo));
    t.same(nodes.filter((each) => each !== undefined).sort(), ['one', 'two']);
  });

  await t.test('the one too many stays Pending and says why', async (t) => {
    const bound = (
      await Promise.all(quick.map(async (name) => ((await boundTo(name)) === undefined ? [] : [name])))
    ).flat();
    for (const name of bound) t.equal(await arrive(name), true, `the node has the room that ${name} was promised`);
    const [last = ''] = quick.filter((name) => !bound.includes(name));
    await until('the reason of its NUMA nodes', async () => /must come from one NUMA node/.test(await reasonOf(last)));
    t.match(await reasonOf(last), /0\/2 nodes are available.*4 exclusive CPUs.*node 0: 3 of 4 CPUs free/);
    t.equal(await boundTo(last), undefined);
  });

  await t.test('it is bound to the node whose place becomes free', async (t) => {
    const last = (await Promise.all(quick.map(async (name) => ((await boundTo(name)) ? [] : [name])))).flat()[0] ?? '';
    const leaving = quick.find((name) => name !== last) ?? '';
    const { metadata, spec } = await core.readNamespacedPod({ namespace: NAMESPACE, name: leaving });
    agents.get(spec?.nodeName ?? '')?.remove(metadata?.uid ?? '');
    await core.deleteNamespacedPod({ namespace: NAMESPACE, name: leaving, gracePeriodSeconds: 0 });
    await until('its binding', async () => (await boundTo(last)) !== undefined);
    t.equal(await boundTo(last), spec?.nodeName);
    t.equal(await arrive(last), true);
  });

  await t.test('a pod that fits no NUMA node of any host stays Pending; others are not held up', async (t) => {
    await make(pod('huge', 5), pod('shared', 5, {}), pod('small', 2));
    await until(
      'the others',
      async () => (await boundTo('shared')) !== undefined && (await boundTo('small')) !== undefined,
    );
    t.equal(await arrive('small'), true);
    await until('its reason', async () => /5 exclusive CPUs/.test(await reasonOf('huge')));
    t.equal(await boundTo('huge'), undefined);
  });
});
