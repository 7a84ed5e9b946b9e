// A pod that the scheduler bound to a node without room for it: given up after a while, so that its controller makes
// another one.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { V1Pod } from '@kubernetes/client-node';
import t from 'tap';
import { NO_ROOM_REASON } from '../../../agent/cluster/end-pod.ts';
import { type Cluster, NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { cpusOf, podSpec, runningApp, somePod } from '../cluster/pods.ts';
import { until } from '../cluster/wait.ts';

const EXCLUSIVE = { 'holdfast.dev/cpuset': 'exclusive' };
const CPUS = availableParallelism();
const NEEDS_CPUS = CPUS >= 2 ? false : 'a pod can own a CPU only where there are two or more';
const RIGHTS = fileURLToPath(new URL('../../../deploy/give-up-rbac.yaml', import.meta.url));
const APP = 'stranded';

function deployment() {
  const labels = { app: APP };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: APP, namespace: 'default' },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels, annotations: EXCLUSIVE }, spec: podSpec({ cpu: '1' }) },
    },
  };
}

async function podsOfApp({ core }: Cluster): Promise<readonly V1Pod[]> {
  return (await core.listNamespacedPod({ namespace: 'default', labelSelector: `app=${APP}` })).items;
}

async function namesOfApp(cluster: Cluster): Promise<readonly string[]> {
  return (await podsOfApp(cluster)).map(({ metadata }) => metadata?.name ?? '');
}

/** From now on the agent gives up in this way; it is started again with it. */
async function giveUpBy({ host }: Cluster, by: 'fail' | 'delete'): Promise<void> {
  const folder = join(dirname(host.configFile), 'config.d');
  await mkdir(folder, { recursive: true });
  const config = { apiVersion: 'holdfast.dev/v1', kind: 'AgentConfig', refusal: { giveUpAfter: '5s', giveUpBy: by } };
  await writeFile(join(folder, 'refusal.yaml'), JSON.stringify(config));
  await host.agent.kill('SIGTERM');
  await host.agent.start();
}

await t.test('a node without room', { skip: NEEDS_ROOT || NEEDS_CPUS }, async (t) => {
  const cluster = await startCluster(t, { config: { schedules: { reconcile: '*/5 * * * * *' } } });
  // The shared pool needs the last CPU.
  await cluster.apply(somePod('owner', { annotations: EXCLUSIVE, cpu: String(CPUS - 1) }));
  const owner = await runningApp(cluster, 'owner');

  await t.test('without the rights the pod stays, and the log says what is missing', async (t) => {
    await giveUpBy(cluster, 'delete');
    await cluster.apply(deployment());
    const log = join(cluster.host.containerd.directory, 'agent.log');
    await until('the missing right in the log', async () =>
      (await readFile(log, 'utf8')).includes('docs/giving-up.md'),
    );
    t.equal((await namesOfApp(cluster)).length, 1);
  });

  await t.test('deleted, and its controller makes another one', async (t) => {
    const [first = ''] = await namesOfApp(cluster);
    await cluster.kubectl('apply', '--filename', RIGHTS);
    await until('another pod in its place', async () => {
      const names = await namesOfApp(cluster);
      return names.length > 0 && !names.includes(first);
    });
    t.equal((await runningApp(cluster, 'owner')).containerId, owner.containerId, 'nobody else is touched');
  });

  await t.test('failed, with the reason, and its controller makes another one', async (t) => {
    await giveUpBy(cluster, 'fail');
    let failed: V1Pod | undefined;
    await until('a failed pod, and another one', async () => {
      const pods = await podsOfApp(cluster);
      failed = pods.find(({ status }) => status?.reason === NO_ROOM_REASON);
      return failed !== undefined && pods.length > 1;
    });
    t.match(failed?.status, { phase: 'Failed', message: /no room on this node for \d+ s: .*NO_ROOM|shared pool/ });
  });

  await t.test('when there is room the last one runs', async (t) => {
    await cluster.kubectl('delete', 'pod', 'owner');
    await until('a pod of the Deployment to run', async () => {
      return (await podsOfApp(cluster)).some(({ status }) => status?.phase === 'Running');
    });
    const running = (await podsOfApp(cluster)).find(({ status }) => status?.phase === 'Running');
    const app = await runningApp(cluster, running?.metadata?.name ?? '');
    t.equal((await cpusOf(app)).size, 1);
  });
});
