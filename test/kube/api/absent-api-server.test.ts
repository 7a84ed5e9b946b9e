// The API server away, restarted and asked again: what the node does without it, and what the agent makes of pods that
// were deleted while it could not see them.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { ContainerState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { remainsOf } from '../../integration/lifecycle/facts.ts';
import { NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { containersOf, crash, fileOf, observedApp, runningApp, somePod, startsOf } from '../cluster/pods.ts';
import { until } from '../cluster/wait.ts';

const REUSE = { 'holdfast.dev/restart': 'reuse' };
/** Neither the kubelet's nor the agent's way of waiting for it changes after this; ten minutes can be asked for. */
const AWAY_SECONDS = Number(process.env['HOLDFAST_TEST_API_AWAY_SECONDS'] ?? '30');

await t.test('with its API server away', { skip: NEEDS_ROOT }, async (t) => {
  const cluster = await startCluster(t);
  const { host, apiServer } = cluster;
  const before = await remainsOf(host);
  await cluster.apply(somePod('db', { annotations: REUSE }));
  const first = await runningApp(cluster, 'db');
  const { podUid } = first;
  await cluster.kubectl('exec', 'db', '--', '/bin/sh', '-c', 'echo precious > /root/note');

  await t.test(`a pod lives on for ${AWAY_SECONDS} s, and crashes without losing its data`, async (t) => {
    const app = await runningApp(cluster, 'db');
    await apiServer.kill('SIGKILL');
    crash(app);
    const next = await observedApp(cluster, podUid, app.containerId);
    await delay(AWAY_SECONDS * 1000);
    t.equal(await startsOf(next), 2);
    t.equal(await fileOf(next, '/root/note'), 'precious');
    t.equal((await containersOf(cluster, podUid, ContainerState.CONTAINER_RUNNING))[0]?.id, next.containerId);
  });

  await t.test('a restarted agent serves its pods from what it has stored', async (t) => {
    const [running] = await containersOf(cluster, podUid, ContainerState.CONTAINER_RUNNING);
    await host.agent.kill('SIGKILL');
    await host.agent.start();
    crash({ processId: await host.direct.processId(running?.id ?? '') });
    const next = await observedApp(cluster, podUid, running?.id ?? '');
    t.equal(await fileOf(next, '/root/note'), 'precious');
  });

  await t.test('everything is as before when the API server is back', async (t) => {
    const [running] = await containersOf(cluster, podUid, ContainerState.CONTAINER_RUNNING);
    await apiServer.start();
    await cluster.apply(somePod('later'));
    await runningApp(cluster, 'later');
    const app = await runningApp(cluster, 'db');
    t.equal(app.podUid, podUid);
    t.equal(app.containerId, running?.id, 'nothing is restarted for it');
  });

  await t.test(
    'a pod that is deleted while the agent is away keeps its data until it is back, and then all goes',
    async (t) => {
      const { containerId } = await runningApp(cluster, 'db');
      await host.agent.kill('SIGKILL');
      await cluster.kubectl('delete', 'pod', 'db', '--wait=false');
      await until('the shim to refuse the removal of the data', async () => {
        const log = await readFile(join(host.containerd.directory, 'cri-shim.log'), 'utf8');
        return /RemoveContainer.*while the agent is away/.test(log);
      });
      t.ok(await host.direct.containerStatus(containerId));
      await host.agent.start();
      await cluster.kubectl('delete', 'pod', '--all');
      let remains: unknown;
      await until('the node to be as before', async () => {
        remains = await remainsOf(host);
        return JSON.stringify(remains) === JSON.stringify(before);
      }).catch((error: unknown) => t.comment(String(error)));
      t.strictSame(remains, before);
    },
  );
});
