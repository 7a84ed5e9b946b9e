// `holdfast.dev/restart: reuse` under a real kubelet: what a pod keeps over the deaths of its container, its sandbox and
// its kubelet, and what it does not keep.
import t from 'tap';
import { APP_IMAGE, APP_IMAGE_NEXT } from '../../../agent/cli/quickstart/images.ts';
import { leasesOf, remainsOf, snapshotsOf } from '../../integration/lifecycle/facts.ts';
import { NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { APP, crash, fileOf, runningApp, sandboxesOf, sandboxProcess, somePod, startsOf } from '../cluster/pods.ts';
import { until } from '../cluster/wait.ts';

const REUSE = { 'holdfast.dev/restart': 'reuse' };
const WRITE = 'echo precious > /root/note && rm /etc/generation';

await t.test('a pod with restart: reuse', { skip: NEEDS_ROOT }, async (t) => {
  // Every minute the kubelet collects all dead containers, the newest too.
  const cluster = await startCluster(t, { kubeletFlags: { 'maximum-dead-containers-per-container': 0 } });
  const { host } = cluster;
  const before = await remainsOf(host);
  await cluster.apply(somePod('db', { annotations: REUSE }), somePod('plain'));
  const first = await runningApp(cluster, 'db');
  await cluster.kubectl('exec', 'db', '--', '/bin/sh', '-c', WRITE);

  await t.test('keeps its data when it crashes, in a new container of the same sandbox', async (t) => {
    crash(first);
    const app = await runningApp(cluster, 'db', first);
    t.equal(app.podIp, first.podIp);
    t.equal((await sandboxesOf(cluster, app.podUid)).length, 1);
    t.equal(await fileOf(app, '/root/note'), 'precious');
    t.equal(await startsOf(app), 2);
    await t.rejects(fileOf(app, '/etc/generation'), { code: 'ENOENT' }, 'what was deleted stays deleted');
  });

  await t.test('keeps its data where a pod without the annotation loses it', async (t) => {
    const plain = await runningApp(cluster, 'plain');
    crash(plain);
    t.equal(await startsOf(await runningApp(cluster, 'plain', plain)), 1);
  });

  await t.test(
    'goes on undisturbed while its kubelet is killed, and keeps its data when it dies meanwhile',
    async (t) => {
      const app = await runningApp(cluster, 'db');
      await cluster.nodeKubelet.kill('SIGKILL');
      t.equal(await startsOf(app), 2);
      crash(app);
      await cluster.nodeKubelet.start();
      const next = await runningApp(cluster, 'db', app);
      t.equal(await startsOf(next), 3);
      t.equal(await fileOf(next, '/root/note'), 'precious');
    },
  );

  await t.test('runs on in the same process when its kubelet is restarted', async (t) => {
    const app = await runningApp(cluster, 'db');
    await cluster.nodeKubelet.kill('SIGTERM');
    await cluster.nodeKubelet.start();
    // The new kubelet has looked at its pods when it has started another one.
    await cluster.apply(somePod('witness'));
    await runningApp(cluster, 'witness');
    t.strictSame(await runningApp(cluster, 'db'), app);
  });

  await t.test('keeps its data when its sandbox is killed and made anew', async (t) => {
    const app = await runningApp(cluster, 'db');
    const [sandbox] = await sandboxesOf(cluster, app.podUid);
    process.kill(await sandboxProcess(cluster, sandbox?.id ?? ''), 'SIGKILL');
    const next = await runningApp(cluster, 'db', app);
    const [newest] = await sandboxesOf(cluster, app.podUid);
    t.not(newest?.id, sandbox?.id);
    t.equal(await fileOf(next, '/root/note'), 'precious');
    t.equal(await startsOf(next), 4);
  });

  await t.test('still has it after a failed upgrade, when its dead container and sandbox are collected', async (t) => {
    const app = await runningApp(cluster, 'db');
    await cluster.kubectl('set', 'image', 'pod/db', `${APP}=holdfast.local/missing:1`);
    await until('no container to be left', async () => (await host.direct.listContainers(app.podUid)).length === 0);
    await until('one sandbox to be left', async () => (await sandboxesOf(cluster, app.podUid)).length === 1);
    t.equal((await leasesOf(host)).length, 1, 'the layer is kept');
    await cluster.kubectl('set', 'image', 'pod/db', `${APP}=${APP_IMAGE}`);
    const next = await runningApp(cluster, 'db', app);
    t.equal(await fileOf(next, '/root/note'), 'precious');
    t.equal(await startsOf(next), 5);
    t.strictSame(await leasesOf(host), [], 'the container has it');
  });

  await t.test('begins anew with another image, as the same pod with the same address and sandbox', async (t) => {
    const app = await runningApp(cluster, 'db');
    const sandboxes = (await sandboxesOf(cluster, app.podUid)).map(({ id }) => id);
    await cluster.kubectl('set', 'image', 'pod/db', `${APP}=${APP_IMAGE_NEXT}`);
    const next = await runningApp(cluster, 'db', app);
    t.equal(next.podUid, app.podUid);
    t.equal(next.podIp, app.podIp);
    t.strictSame(
      (await sandboxesOf(cluster, app.podUid)).map(({ id }) => id),
      sandboxes,
    );
    t.equal(await fileOf(next, '/etc/generation'), '2');
    t.equal(await startsOf(next), 1, 'with an empty layer');
  });

  await t.test('keeps what it wrote with the new image', async (t) => {
    const app = await runningApp(cluster, 'db');
    crash(app);
    const next = await runningApp(cluster, 'db', app);
    t.equal(await fileOf(next, '/etc/generation'), '2');
    t.equal(await startsOf(next), 2);
  });

  // Sooner than `holdings.gracePeriod`: the agent has seen the deletion.
  await t.test('leaves nothing on the node when it is deleted', async (t) => {
    t.not((await snapshotsOf(host)).length, 0);
    await cluster.kubectl('delete', 'pod', '--all');
    let remains: unknown;
    await until('the node to be as before', async () => {
      remains = await remainsOf(host);
      return JSON.stringify(remains) === JSON.stringify(before);
    }).catch((error: unknown) => t.comment(String(error)));
    t.strictSame(remains, before);
  });
});
