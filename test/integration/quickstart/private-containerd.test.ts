// The private containerd against the real one of this machine: several at once, restarts, and what is left behind.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { cgroupHierarchies } from '../../../agent/cli/quickstart/cgroup-tree.ts';
import { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE, APP_IMAGE_NEXT } from '../../../agent/cli/quickstart/images.ts';
import { destroyStaleInstances } from '../../../agent/cli/quickstart/instance.ts';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { type PrivateContainerd, startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { findProcesses } from '../../../agent/cli/quickstart/process.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { ContainerState } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';

const skip = process.geteuid?.() === 0 ? false : 'containerd needs root';

const POD: PodDescription = {
  name: 'web',
  namespace: 'default',
  uid: 'uid-web',
  containers: [
    {
      name: 'app',
      image: APP_IMAGE,
      cpuLimit: milliCpu(500),
      memoryLimit: bytes(64 * 1024 * 1024),
      command: ['/bin/sh', '-c', 'echo up >> /root/history; sleep 1000'],
    },
  ],
};

async function start(t: Test): Promise<{ containerd: PrivateContainerd; kubelet: CriClient }> {
  const containerd = await startPrivateContainerd();
  t.teardown(() => containerd.stop());
  const kubelet = new CriClient(containerd);
  t.teardown(() => kubelet.close());
  return { containerd, kubelet };
}

/** Everything of an instance that can still be seen on the host. */
async function remainsOf(directory: string): Promise<readonly string[]> {
  const hierarchies = await cgroupHierarchies();
  return [
    ...(await findProcesses(/./, directory)).map(({ pid }) => `process ${pid}`),
    ...hierarchies.map(({ mountPoint }) => join(mountPoint, basename(directory))).filter((path) => existsSync(path)),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(`${directory}/`)),
    ...[directory].filter((path) => existsSync(path)),
  ];
}

t.test('two side by side do not see each other, and leave nothing', { skip }, async (t) => {
  const [one, two] = await Promise.all([start(t), start(t)]);
  const pod = await one.kubelet.makePod(POD);
  const id = pod.containerIds.get('app') ?? '';
  t.strictSame(await one.kubelet.exec(id, 'cat', '/etc/generation'), { stdout: '1\n', stderr: '', exitCode: 0 });
  t.strictSame(await two.kubelet.listContainers(), []);
  const cgroups = readFileSync(`/proc/${await one.kubelet.processId(id)}/cgroup`, 'utf8');
  t.match(cgroups, `${one.containerd.cgroupParent}/kubepods/poduid-web/`);
  await Promise.all([one.containerd.stop(), two.containerd.stop()]);
  for (const { containerd } of [one, two]) t.strictSame(await remainsOf(containerd.directory), []);
});

t.test('containers outlive kill -9 of containerd, and attempts are counted as by the kubelet', { skip }, async (t) => {
  const { containerd, kubelet } = await start(t);
  const pod = await kubelet.makePod(POD);
  const id = pod.containerIds.get('app') ?? '';
  const pid = await kubelet.processId(id);
  await containerd.restart('SIGKILL');
  t.equal(await kubelet.processId(id), pid);
  process.kill(pid, 'SIGKILL');
  await pollUntil('the container to be seen as exited', 10_000, async () =>
    (await kubelet.containerStatus(id))?.state === ContainerState.CONTAINER_EXITED ? true : undefined,
  );
  const next = await kubelet.restartContainer(pod, 'app', { image: APP_IMAGE_NEXT });
  t.equal((await kubelet.exec(next, 'cat', '/etc/generation')).stdout, '2\n');
  t.equal((await kubelet.containerStatus(next))?.metadata?.attempt, 1);
  await kubelet.deletePod(POD.uid);
  t.strictSame(await kubelet.listContainers(), []);
  t.strictSame(await kubelet.listPodSandboxes(), []);
});

t.test('what a killed program leaves is removed by the next start', { skip }, async (t) => {
  const script = fileURLToPath(new URL('abandon-containerd.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import=tsx', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [output]: unknown[] = await once(child.stdout, 'data');
  const directory = String(output).trim();
  t.ok(directory.startsWith(tmpdir()), directory);
  child.kill('SIGKILL');
  await once(child, 'close');
  t.not((await remainsOf(directory)).length, 0, 'containerd and the container go on');
  await destroyStaleInstances();
  t.strictSame(await remainsOf(directory), []);
  t.strictSame(
    readdirSync(tmpdir()).filter((name) => name === basename(directory)),
    [],
  );
});

t.test('a containerd that cannot start says why, and leaves nothing', { skip }, async (t) => {
  const before = new Set(readdirSync(tmpdir()));
  const path = process.env['PATH'];
  const failing = t.testdir({ containerd: '#!/bin/sh\necho "containerd: no such luck" >&2\nexit 1\n' });
  chmodSync(join(failing, 'containerd'), 0o755);
  t.teardown(() => {
    process.env['PATH'] = path;
  });
  process.env['PATH'] = `${failing}:${path}`;
  await t.rejects(startPrivateContainerd(), { code: 'HOST_FAILURE', message: /no such luck/ });
  const mine = `holdfast-private-${process.pid}-`;
  t.strictSame(
    readdirSync(tmpdir()).filter((name) => name.startsWith(mine) && !before.has(name)),
    [],
  );
});
