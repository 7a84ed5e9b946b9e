// The shim between Go's gRPC and a real containerd: Node's HTTP/2 on both sides of a test proves little about others'.
// containerd's own client, ctr, speaks to services that the shim has never heard of.
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { isServiceError } from '../../../lib/grpc-client.ts';
import { RuntimeService } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';
import { until } from '../../component/cri-shim/support/bench.ts';
import { createWorkplace } from '../../component/cri-shim/support/shim-process.ts';

const run = promisify(execFile);

const skip = process.geteuid?.() === 0 ? false : 'a private containerd needs root';

t.test('through the shim, without an agent', { skip }, async (t) => {
  const containerd = await startPrivateContainerd();
  t.teardown(() => containerd.stop());
  const work = await createWorkplace(t);
  const shim = work.spawn({ args: [...work.flags, '--upstream', containerd.socketPath] });
  await shim.ready();
  const cri = new CriClient({ ...containerd, socketPath: work.shimPath });
  t.teardown(() => cri.close());
  const ctr = async (...args: string[]): Promise<string> => {
    return (await run('ctr', ['--address', work.shimPath, '--namespace', 'k8s.io', ...args])).stdout;
  };

  t.match(await ctr('version'), /Server:\n\s+Version:\s+v?\d+\.\d+/);
  t.match(await ctr('images', 'list', '-q'), /holdfast|busybox|pause/i, 'a list over containerd’s own API');

  // A stream from the server that goes on for as long as its reader wants.
  const events = spawn('ctr', ['--address', work.shimPath, '--namespace', 'k8s.io', 'events']);
  let seen = '';
  events.stdout.on('data', (chunk: Buffer) => {
    seen += chunk.toString();
  });
  t.teardown(() => void events.kill());

  const container = { name: 'app', image: APP_IMAGE, command: ['/bin/sh', '-c', 'exec sleep 1000'] };
  const description = { name: 'go', namespace: 'tests', uid: 'go-uid', annotations: {}, containers: [container] };
  // The subscription has no answer of its own: events are made until one of them arrives.
  for (let index = 0; !seen.includes('/namespaces/update'); index += 1) {
    if (index > 100) throw new Error(`no event arrived: ${seen}`);
    await ctr('namespaces', 'label', 'k8s.io', `holdfast-test=${index}`);
  }
  const pod = await cri.makePod(description);
  const id = pod.containerIds.get('app') ?? '';
  await until(
    () => seen.includes('/tasks/start') && seen.includes(id),
    'the start of the container is among the events',
  );
  t.match(await ctr('containers', 'list', '-q'), id);

  const { stdout } = await cri.call(RuntimeService.method.execSync, {
    containerId: id,
    cmd: ['echo', 'hello'],
    timeout: 10n,
  });
  t.equal(Buffer.from(stdout).toString(), 'hello\n');
  await t.rejects(cri.call(RuntimeService.method.containerStatus, { containerId: 'nobody' }), {
    code: status.NOT_FOUND,
  });
  const limits = { containerId: id, linux: { cpuShares: 512n } };
  await t.resolves(cri.call(RuntimeService.method.updateContainerResources, limits));

  await containerd.kill('SIGKILL');
  const away = await cri.call(RuntimeService.method.version, {}).catch((error: unknown) => error);
  t.ok(isServiceError(away, status.UNAVAILABLE), 'it fails fast while containerd is away');
  await containerd.start();
  t.match(await ctr('containers', 'list', '-q'), id, 'the first call after its return works');
  await cri.call(RuntimeService.method.stopContainer, { containerId: id, timeout: 0n });
  await cri.call(RuntimeService.method.removeContainer, { containerId: id });
  await cri.call(RuntimeService.method.stopPodSandbox, { podSandboxId: pod.sandboxId });
  await cri.call(RuntimeService.method.removePodSandbox, { podSandboxId: pod.sandboxId });
  t.notMatch(await ctr('containers', 'list', '-q'), id);
  t.match(shim.output(), /"event":"fallback"/, 'all of it without the agent');
});
