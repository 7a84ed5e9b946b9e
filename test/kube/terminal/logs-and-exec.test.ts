// What a user at a terminal does with a pod: logs and commands on their way through API server, kubelet and cri-shim.
import t from 'tap';
import { NEEDS_ROOT, startCluster } from '../cluster/cluster.ts';
import { crash, fileOf, runningApp, somePod } from '../cluster/pods.ts';
import { until } from '../cluster/wait.ts';

const REUSE = { 'holdfast.dev/restart': 'reuse' };
/** More than a message of CRI may hold. */
const MEBIBYTES = 20;

await t.test('kubectl', { skip: NEEDS_ROOT }, async (t) => {
  const cluster = await startCluster(t);
  const script = 'echo "attempt $(wc -l < /root/history)"; while true; do sleep 1; done';
  await cluster.apply(somePod('web', { annotations: REUSE, script }));
  const first = await runningApp(cluster, 'web');

  await t.test('logs shows what the container says, and after a crash what the one before it said', async (t) => {
    await until('the first line', async () => (await cluster.kubectl('logs', 'web')) === 'attempt 1\n');
    crash(first);
    await runningApp(cluster, 'web', first);
    await until('the line of the second', async () => (await cluster.kubectl('logs', 'web')) === 'attempt 2\n');
    t.equal(await cluster.kubectl('logs', 'web', '--previous'), 'attempt 1\n');
  });

  await t.test('exec runs a command in the container that has the kept layer, with input and exit code', async (t) => {
    const written = await cluster.kubectlWith(
      'from outside\n',
      'exec',
      '-i',
      'web',
      '--',
      '/bin/sh',
      '-c',
      'cat > /root/input; cat /root/input',
    );
    t.equal(written, 'from outside\n');
    t.equal(await fileOf(await runningApp(cluster, 'web', first), '/root/input'), 'from outside');
    const failing = cluster.kubectl('exec', 'web', '--', '/bin/sh', '-c', 'echo broken >&2; exit 7');
    await t.rejects(failing, { code: 7, stderr: /broken/ });
  });

  await t.test(`exec carries ${MEBIBYTES} MiB in both directions`, async (t) => {
    const input = 'x'.repeat(MEBIBYTES << 20);
    const counted = await cluster.kubectlWith(input, 'exec', '-i', 'web', '--', 'wc', '-c');
    t.equal(Number(counted), input.length);
    const head = ['head', '-c', String(input.length), '/dev/zero'];
    t.equal((await cluster.kubectl('exec', 'web', '--', ...head)).length, input.length);
  });

  await t.test('describe shows the container ID that the runtime knows', async (t) => {
    const { containerId } = await runningApp(cluster, 'web', first);
    t.match(await cluster.kubectl('describe', 'pod', 'web'), `containerd://${containerId}`);
    t.ok(await cluster.host.direct.containerStatus(containerId));
  });
});
