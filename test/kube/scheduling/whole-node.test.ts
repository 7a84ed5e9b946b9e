// All of it as programs: scheduler, extender, agent, kubelet, runtime. What the extender lets through runs on CPUs of its
// own; what it does not is never seen by the node.
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { createProgram } from '../../../agent/cli/quickstart/program.ts';
import { REQUIRED_EXCLUSIVE } from '../../support/random-pods.ts';
import { NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { cpusOf, runningApp, somePod } from '../cluster/pods.ts';
import { freePort } from '../cluster/ports.ts';
import { NODE_NAME } from '../cluster/users.ts';
import { until } from '../cluster/wait.ts';

t.setTimeout(600_000);

const CPUS = availableParallelism();
const NEEDS_CPUS = CPUS >= 2 ? false : 'a pod can own a CPU only where there are two or more';

await t.test('scheduler, extender and node as programs', { skip: NEEDS_ROOT || NEEDS_CPUS }, async (t) => {
  const [extenderPort, agentPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${extenderPort}`;
  const cluster = await startCluster(t, {
    config: { topologyApi: { address: `127.0.0.1:${agentPort}` } },
    extenders: [
      {
        urlPrefix: url,
        filterVerb: 'filter',
        prioritizeVerb: 'prioritize',
        weight: 1,
        nodeCacheCapable: true,
        httpTimeout: '5s',
      },
    ],
  });
  const file = join(cluster.host.containerd.directory, 'extender.yaml');
  const config = {
    apiVersion: 'holdfast.dev/v1',
    kind: 'ExtenderConfig',
    listen: { address: `127.0.0.1:${extenderPort}` },
    kubernetes: { kubeconfig: cluster.adminKubeconfig },
    agents: { plaintext: 'allow', endpoints: [{ node: NODE_NAME, address: `127.0.0.1:${agentPort}` }] },
  };
  await writeFile(file, stringify(config));
  const extender = createProgram({
    name: 'extender',
    args: ['extender', '--config', file],
    logPath: join(cluster.host.containerd.directory, 'extender.log'),
    ready: async () => (await fetch(`${url}/readyz`)).ok,
  });
  t.teardown(() => extender.stop());
  await extender.start();

  await cluster.apply(somePod('owner', { annotations: REQUIRED_EXCLUSIVE, cpu: String(CPUS - 1) }));
  t.equal((await cpusOf(await runningApp(cluster, 'owner'))).size, CPUS - 1);

  // By totals it fits: the last CPU is that of the shared pool, which the scheduler knows nothing of.
  await cluster.apply(somePod('late', { annotations: REQUIRED_EXCLUSIVE, cpu: '1' }));
  const read = (name: string) => cluster.core.readNamespacedPod({ namespace: 'default', name });
  await until('the reason why it is Pending', async () => {
    const conditions = (await read('late')).status?.conditions ?? [];
    return conditions.some(({ type, message }) => type === 'PodScheduled' && /1 exclusive CPU/.test(message ?? ''));
  });
  t.equal((await read('late')).spec?.nodeName, undefined, 'it was never given to the node that has no room for it');

  await cluster.kubectl('delete', 'pod', 'owner');
  t.equal((await cpusOf(await runningApp(cluster, 'late'))).size, 1, 'and runs as soon as there is room');
});
