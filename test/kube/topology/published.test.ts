// What others read of the node, in a real cluster: the NodeResourceTopology object as a real API server keeps it, and
// podresources beside a real kubelet. Both say what the agent's own API says.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { askAgent } from '../../../agent/cli/ask-agent.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import {
  type NodeResourceTopology,
  planNodeResourceTopology,
} from '../../../agent/published/plan-node-resource-topology.ts';
import { Admin, GetStatusRequestSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import {
  GetTopologyRequestSchema,
  ListAllocationsRequestSchema,
  Topology,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import {
  ListPodResourcesRequestSchema,
  PodResourcesLister,
} from '../../../proto/gen/wire/podresources/v1/podresources_pb.ts';
import { type Cluster, NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { APP, cpusOf, runningApp, somePod } from '../cluster/pods.ts';
import { NODE_NAME } from '../cluster/users.ts';
import { until } from '../cluster/wait.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const deploy = (name: string): string => join(ROOT, 'deploy', name);
const CRD = deploy('node-resource-topology-crd.yaml');
const RIGHTS = deploy('node-resource-topology-rbac.yaml');
const SUBJECT = 'node resource topology';
const KIND = 'noderesourcetopologies';
const RIVAL = 'nfd-topology-updater';
const EXCLUSIVE = { 'holdfast.dev/cpuset': 'exclusive', 'holdfast.dev/numa': 'required' };
const NEEDS_CPUS = availableParallelism() >= 2 ? false : 'a pod can own a CPU only where there are two or more';

/** What the agent has said about the object. */
async function saidBy({ host }: Cluster): Promise<readonly { readonly level: string; readonly msg: string }[]> {
  const text = await readFile(join(host.containerd.directory, 'agent.log'), 'utf8');
  const lines = text.split('\n').filter((line) => line.includes(`"${SUBJECT}"`) && line.startsWith('{'));
  return lines
    .map((line) => JSON.parse(line) as { readonly subject?: string; readonly level: string; readonly msg: string })
    .filter(({ subject }) => subject === SUBJECT);
}

async function statusOf({ host }: Cluster): Promise<{ readonly level: string; readonly text: string } | undefined> {
  const { lines } = await askAgent(host.agentSocket, Admin.method.getStatus, create(GetStatusRequestSchema));
  return lines.find(({ subject }) => subject === SUBJECT);
}

const objectOf = async ({ kubectl }: Cluster): Promise<NodeResourceTopology> =>
  JSON.parse(await kubectl('get', KIND, NODE_NAME, '--output', 'json')) as NodeResourceTopology;

/** The pods that scheduler-plugins count with the informer mode Shared, by the API alone. */
async function runningPods({
  core,
}: Cluster): Promise<readonly { readonly namespace: string; readonly name: string }[]> {
  const fieldSelector = `spec.nodeName=${NODE_NAME},status.phase=Running`;
  const { items } = await core.listPodForAllNamespaces({ fieldSelector });
  return items.map(({ metadata }) => ({ namespace: metadata?.namespace ?? '', name: metadata?.name ?? '' }));
}

/** What the object should be: its fingerprint by the API's pods, all else by the agent's own API. */
async function expectedOf(cluster: Cluster): Promise<NodeResourceTopology> {
  const { host, core } = cluster;
  const { getTopology, listAllocations } = Topology.method;
  for (;;) {
    const allocations = await askAgent(host.topologySocket, listAllocations, create(ListAllocationsRequestSchema));
    const topology = await askAgent(host.topologySocket, getTopology, create(GetTopologyRequestSchema));
    if (topology.version !== allocations.version) continue;
    const nodeUid = (await core.readNode({ name: NODE_NAME })).metadata?.uid ?? '';
    return planNodeResourceTopology(
      { topology, allocations, runningPods: await runningPods(cluster) },
      { policy: 'single-numa-node', reservedMemoryBytes: 0n, nodeUid },
    );
  }
}

/** Waits until the object says what the agent and the API say. */
async function matching(cluster: Cluster, what: string): Promise<NodeResourceTopology> {
  let found: NodeResourceTopology | undefined;
  const parts = ({ zones, attributes, topologyPolicies }: NodeResourceTopology) => [
    zones,
    attributes,
    topologyPolicies,
  ];
  const canonical = (object: NodeResourceTopology): string =>
    JSON.stringify(parts(object), (_key, value: unknown) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    );
  await until(`the object to show ${what}`, async () => {
    found = await objectOf(cluster);
    return canonical(found) === canonical(await expectedOf(cluster));
  });
  if (found === undefined) throw new Error('until returns when it was found');
  return found;
}

const availableCpus = ({ zones }: NodeResourceTopology): number =>
  zones
    .flatMap(({ resources }) => resources)
    .filter(({ name }) => name === 'cpu')
    .reduce((sum, { available }) => sum + Number(available), 0);

const putRightAway = (cluster: Cluster): Promise<string> =>
  cluster.kubectl('delete', 'clusterrolebinding', 'holdfast-node-resource-topology');

/** Another program writes the zones, as an update. */
async function writeAs({ kubectl }: Cluster, manager: string, zone: string): Promise<void> {
  const zones = [{ name: zone, type: 'Node' }];
  const patch = JSON.stringify({ zones });
  await kubectl('patch', KIND, NODE_NAME, '--type', 'merge', '--patch', patch, `--field-manager=${manager}`);
}

interface Finding {
  readonly level: string;
  readonly subject: string;
  readonly text: string;
}

/** It fails where anything is wrong; what it says is on standard output all the same. */
function doctor({ host }: Cluster): Promise<{ readonly failed: boolean; readonly findings: readonly Finding[] }> {
  const args = ['doctor', '--config', host.configFile, '--output', 'json'];
  return new Promise((resolve) => {
    execFile(join(ROOT, 'bin/holdfast'), args, (error, stdout) => {
      resolve({ failed: error !== null, findings: JSON.parse(stdout) as readonly Finding[] });
    });
  });
}

await t.test('a node whose topology others read', { skip: NEEDS_ROOT || NEEDS_CPUS }, async (t) => {
  const cluster = await startCluster(t, {
    // Its own socket is below its root directory; that of device plugins is at a place of the host.
    kubeletFlags: { 'feature-gates': 'DevicePlugins=false,KubeletPodResources=true' },
    config: (directory, kubeconfig) => ({
      nodeResourceTopology: { kubeconfig, policy: 'single-numa-node' },
      podResources: { kubelet: join(directory, 'kubelet/pod-resources/kubelet.sock') },
    }),
  });

  await t.test('a missing right and a missing kind are one warning each', async (t) => {
    await until('the missing right', async () => /get of nodes/.test((await statusOf(cluster))?.text ?? ''));
    await cluster.kubectl('apply', '--filename', RIGHTS);
    await until('the missing kind', async () => /crd\.yaml/.test((await statusOf(cluster))?.text ?? ''));
    t.equal((await statusOf(cluster))?.level, 'warning');
    t.match(await saidBy(cluster), [
      { level: 'warn', msg: /answers 403/ },
      { level: 'warn', msg: /node-resource-topology-crd\.yaml/ },
    ]);
    t.equal((await saidBy(cluster)).length, 2, 'though it was tried more often');
  });

  await t.test('the object comes with its kind, is owned by the Node, and says what the agent says', async (t) => {
    await cluster.kubectl('apply', '--filename', CRD);
    await until('the object', async () => (await statusOf(cluster))?.level === 'ok');
    const { metadata } = await matching(cluster, 'the present state');
    const node = await cluster.core.readNode({ name: NODE_NAME });
    t.match(metadata.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: NODE_NAME, uid: node.metadata?.uid }]);
    t.equal((await saidBy(cluster)).length, 3, 'and one line says that all is well');
  });

  await t.test("the kubelet's own credentials may not write it", async (t) => {
    const who = [`--as=system:node:${NODE_NAME}`, '--as-group=system:nodes', '--as-group=system:authenticated'];
    await t.rejects(cluster.kubectl('auth', 'can-i', 'patch', `${KIND}.topology.node.k8s.io/${NODE_NAME}`, ...who));
    t.match(
      await cluster.kubectl('auth', 'can-i', 'get', 'nodes/localhost', ...who),
      /yes/,
      'though it is the kubelet',
    );
  });

  await t.test('a pod that owns a CPU is seen in the object and in podresources, and is gone again', async (t) => {
    const before = await matching(cluster, 'no pod');
    await cluster.apply(somePod('owner', { annotations: EXCLUSIVE, cpu: '1' }), somePod('neighbour'));
    const owned = await cpusOf(await runningApp(cluster, 'owner'));
    await runningApp(cluster, 'neighbour');
    const during = await matching(cluster, 'the pods');
    t.equal(availableCpus(during), availableCpus(before) - 1);
    t.notSame(during.attributes, before.attributes, 'the fingerprint is another');

    const socket = join(cluster.host.topologySocket, '../podresources.sock');
    const request = create(ListPodResourcesRequestSchema);
    const { podResources } = await askAgent(socket, PodResourcesLister.method.list, request);
    const cpusIn = (pod: string): string => {
      const containers = podResources.find(({ name }) => name === pod)?.containers ?? [];
      t.strictSame(
        containers.map(({ name }) => name),
        [APP],
      );
      return CpuSet.from(containers.flatMap(({ cpuIds }) => cpuIds.map(Number))).toString();
    };
    t.equal(cpusIn('owner'), owned.toString(), 'what the kernel says');
    t.equal(cpusIn('neighbour'), '');
    const owner = podResources.find(({ name }) => name === 'owner');
    t.match(owner?.containers[0]?.memory, [{ memoryType: 'memory', size: 32n * 1024n ** 2n }]);

    const { findings } = await doctor(cluster);
    const levelsOf = (wanted: string) => findings.filter(({ subject }) => subject === wanted).map(({ level }) => level);
    t.strictSame(levelsOf(SUBJECT), ['ok']);
    t.strictSame(levelsOf('pod resources'), ['ok']);
    t.strictSame(levelsOf('devices of pods'), [], 'the kubelet answered');

    await cluster.kubectl('delete', 'pod', 'owner', 'neighbour');
    let after = during;
    await until('the CPU to be free', async () => {
      after = await matching(cluster, 'that they are gone');
      return availableCpus(after) === availableCpus(before);
    });
    t.strictSame(after.attributes, before.attributes);
  });

  await t.test('a right that is taken away is one more warning', async (t) => {
    const said = (await saidBy(cluster)).length;
    await putRightAway(cluster);
    await until('the warning', async () => (await statusOf(cluster))?.level === 'warning');
    t.match((await saidBy(cluster)).slice(said), [{ level: 'warn', msg: /answers 403/ }]);
    await cluster.kubectl('apply', '--filename', RIGHTS);
    await until('all to be well', async () => (await statusOf(cluster))?.level === 'ok');
    t.equal((await saidBy(cluster)).length, said + 2);
  });

  await t.test('a second writer is overruled once, and then a failure of doctor that names it', async (t) => {
    await writeAs(cluster, RIVAL, 'node-8');
    await until('the object to be taken over', async () => (await statusOf(cluster))?.level === 'warning');
    t.match((await statusOf(cluster))?.text, new RegExp(`taken over from ${RIVAL}`));
    await matching(cluster, 'the present state again');
    await writeAs(cluster, RIVAL, 'node-9');
    await until('the failure', async () => (await statusOf(cluster))?.level === 'failed');
    t.match((await objectOf(cluster)).zones, [{ name: 'node-9' }], 'it is not fought with');
    const { failed, findings } = await doctor(cluster);
    t.ok(failed);
    t.match(
      findings.filter(({ subject }) => subject === SUBJECT),
      [{ level: 'failed', text: new RegExp(RIVAL) }],
    );
  });
});
