// CPUs under a real scheduler and kubelet: what a pod or a Job owns, who gives way, and what a user reads of a refusal.
import { availableParallelism } from 'node:os';
import t from 'tap';
import { NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { cpusOf, podOfJob, podSpec, runningApp, somePod } from '../cluster/pods.ts';
import { until } from '../cluster/wait.ts';

const EXCLUSIVE = { 'holdfast.dev/cpuset': 'exclusive' };
const CPUS = availableParallelism();
const NEEDS_CPUS = CPUS >= 2 ? false : 'a pod can own a CPU only where there are two or more';

await t.test('on a node whose CPUs can be owned', { skip: NEEDS_ROOT || NEEDS_CPUS }, async (t) => {
  const cluster = await startCluster(t);
  // Without a request, so that the scheduler thinks all CPUs free.
  await cluster.apply(somePod('neighbour', { cpu: '0' }));
  const neighbour = await runningApp(cluster, 'neighbour');
  const all = await cpusOf(neighbour);
  const neighbourRunsOn = async (cpus: string): Promise<boolean> => (await cpusOf(neighbour)).toString() === cpus;

  await t.test('a Job runs on a CPU of its own, which is given back when it has finished', async (t) => {
    const script = 'until [ -e /tmp/done ]; do sleep 1; done';
    const spec = podSpec({ cpu: '1', script, spec: { restartPolicy: 'Never' } });
    await cluster.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'sum', namespace: 'default' },
      spec: { template: { metadata: { annotations: EXCLUSIVE }, spec } },
    });
    const name = await podOfJob(cluster, 'sum');
    const own = await cpusOf(await runningApp(cluster, name));
    t.equal(own.size, 1);
    await until('the neighbour to leave that CPU', () => neighbourRunsOn(all.minus(own).toString()));
    await cluster.kubectl('exec', name, '--', 'touch', '/tmp/done');
    await cluster.kubectl('wait', '--for=condition=complete', 'job/sum', '--timeout=200s');
    await until('the neighbour to have it back', () => neighbourRunsOn(all.toString()));
    const { status } = await cluster.core.readNamespacedPod({ namespace: 'default', name });
    t.equal(status?.phase, 'Succeeded', 'though the pod of the Job is still there');
  });

  await t.test('a refused pod says why in its events, and runs when there is room', async (t) => {
    await cluster.apply(somePod('owner', { annotations: EXCLUSIVE, cpu: String(CPUS - 1) }));
    const owned = await cpusOf(await runningApp(cluster, 'owner'));
    t.equal(owned.size, CPUS - 1);
    await cluster.apply(somePod('refused', { annotations: EXCLUSIVE, cpu: '1' }));
    await until('an event with the reason', async () => {
      return (await cluster.kubectl('describe', 'pod', 'refused')).includes("the host's shared pool needs one");
    });
    t.strictSame((await cpusOf(neighbour)).toString(), all.minus(owned).toString(), 'nobody else is moved for it');
    await cluster.kubectl('delete', 'pod', 'owner');
    t.equal((await cpusOf(await runningApp(cluster, 'refused'))).size, 1);
  });

  await t.test('a pod that asks for half an exclusive CPU is told to ask for whole ones', async () => {
    await cluster.apply(somePod('half', { annotations: EXCLUSIVE, cpu: '500m' }));
    await until('an event with the reason', async () => {
      return (await cluster.kubectl('describe', 'pod', 'half')).includes(
        'set limit and request to the same whole number',
      );
    });
  });

  await t.test('all CPUs are shared again when the pods are deleted', async () => {
    await cluster.kubectl('delete', 'pod', 'refused', 'half');
    await until('the neighbour to have all CPUs', () => neighbourRunsOn(all.toString()));
  });
});
