// The layer outlives its container: over RemoveContainer, RemovePodSandbox, containerd restarts and garbage collection,
// until the pod's holdings end or the budget does.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { run } from '../../../agent/cli/quickstart/command.ts';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { ExportLayerRequestSchema, ResetLayerRequestSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { somePod, TestNode } from './node.ts';

const NEVER = new AbortController().signal;

/** All share one containerd. */
async function suite(): Promise<void> {
  const containerd = await startPrivateContainerd();
  t.teardown(() => containerd.stop());
  const node = await TestNode.open(containerd, new MemoryStore());
  t.teardown(() => node.close());

  const ctr = (...args: readonly string[]): Promise<string> =>
    run('ctr', ['--address', containerd.socketPath, '--namespace', 'k8s.io', ...args]);

  /** Deleting a lease synchronously runs containerd's garbage collector and waits for it. */
  async function collectGarbage(): Promise<void> {
    await ctr('leases', 'create', '--id', 'gc-trigger');
    await ctr('leases', 'delete', '--sync', 'gc-trigger');
  }

  async function snapshots(): Promise<readonly string[]> {
    return (await ctr('snapshots', 'ls')).split('\n').flatMap((line) => /^(\S+).*Active/.exec(line)?.[1] ?? []);
  }

  t.test('RemoveContainer keeps the layer; the next attempt gets it, and nothing is left behind', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data; rm /etc/generation');
    await node.stop(first);
    await node.remove(pod, 'app', first);
    t.equal(await node.runtime.containerStatus(first, NEVER), undefined, 'the container is gone');
    t.match(node.layers(pod), [{ state: 'kept' }]);
    t.strictSame(await node.leases(), [first]);
    const second = await node.run(pod, 'app', 1);
    t.equal(await node.shell(second, 'cat /data; ls /etc/generation 2>/dev/null || true'), 'data\n');
    await node.reconcile();
    t.strictSame(await node.leases(), []);
    t.notOk((await snapshots()).includes(first), 'the emptied snapshot is gone too');
    await node.stop(second);
  });

  t.test('RemovePodSandbox with the container in it, containerd killed, garbage collected: a reboot', async (t) => {
    const description = somePod();
    const old = await node.cri.runPod(description);
    const first = await node.run(old, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await node.stop(first);
    await node.removeSandbox(old);
    t.match(node.layers(old), [{ state: 'kept' }]);
    await collectGarbage();
    await containerd.restart('SIGKILL');
    await collectGarbage();
    await ctr('content', 'prune', 'references');
    t.ok((await snapshots()).includes(first), 'the snapshot is still there');
    const pod = await node.cri.runPod(description, 1);
    const second = await node.run(pod, 'app', 1);
    t.equal(await node.shell(second, 'cat /data'), 'data\n');
    await node.stop(second);
  });

  t.test('an old sandbox is removed while the pod lives: only its own goes', async (t) => {
    const description = somePod();
    const old = await node.cri.runPod(description);
    const first = await node.run(old, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await node.stop(first);
    await node.cri.stopPodSandbox(old.sandboxId);
    const pod = await node.cri.runPod(description, 1);
    const second = await node.run(pod, 'app', 1);
    await node.removeSandbox(old);
    t.equal(await node.shell(second, 'cat /data'), 'data\n');
    t.match(node.layers(pod), [{ state: 'attached', holder: second }]);
    await node.stop(second);
  });

  t.test('the pod is gone: what was kept for it goes', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await node.stop(first);
    await node.removeSandbox(pod);
    t.strictSame(
      node.feature.pods?.().filter(({ uid }) => uid === pod.uid),
      [{ uid: pod.uid, namespace: pod.namespace, name: pod.name }],
    );
    await node.feature.podGone?.(podUid(pod.uid), 'deleted', NEVER);
    await node.reconcile();
    t.strictSame(node.layers(pod), []);
    t.strictSame(
      node.feature.pods?.().filter(({ uid }) => uid === pod.uid),
      [],
    );
    t.notOk((await snapshots()).includes(first));
    t.notOk((await node.leases()).includes(first));
  });

  t.test('a kept layer is given up when it exceeds the budget or its age, the oldest first', async (t) => {
    let now = Date.now();
    await node.restartAgent({ now: () => now, options: { budgetBytes: 3 * 1024 ** 2, maxAgeMs: 1_000_000 } });
    const pods = [];
    for (let index = 0; index < 2; index += 1) {
      const pod = await node.cri.runPod(somePod());
      const id = await node.run(pod, 'app', 0);
      await node.shell(id, 'dd if=/dev/urandom of=/data bs=1M count=2 2>/dev/null');
      await node.stop(id);
      await node.remove(pod, 'app', id);
      pods.push(pod);
      now += 1000;
    }
    const [older, newer] = pods;
    if (older === undefined || newer === undefined) throw new Error('two pods were made');
    await node.reconcile();
    t.strictSame(node.layers(older), [], 'the older one');
    t.match(node.layers(newer), [{ state: 'kept' }]);
    t.ok(node.feature.status?.().some(({ text }) => text.includes(older.name) && text.includes('reuse.budget')));
    now += 2_000_000;
    await node.reconcile();
    t.strictSame(node.layers(newer), [], 'too old');
    await node.restartAgent();
  });

  t.test('reset: a kept layer at once, an attached one at the next attempt', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    const request = create(ResetLayerRequestSchema, { pod: `${pod.namespace}/${pod.name}`, container: 'app' });
    await node.feature.admin.reset(request, NEVER);
    t.equal(await node.shell(first, 'cat /data'), 'data\n', 'the running container is left alone');
    await node.stop(first);
    const second = await node.run(pod, 'app', 1);
    t.equal(await node.shell(second, 'ls /data 2>/dev/null || true'), '');
    await node.shell(second, 'echo new > /data');
    await node.stop(second);
    await node.remove(pod, 'app', second);
    await node.feature.admin.reset(create(ResetLayerRequestSchema, { pod: pod.uid, container: 'app' }), NEVER);
    t.strictSame(node.layers(pod), []);
    await t.rejects(node.feature.admin.reset(request, NEVER), { code: 'NOT_FOUND' });
  });

  t.test('export: a tar archive of what the container changed', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data; chmod 640 /data; rm /etc/generation');
    await node.stop(first);
    await node.remove(pod, 'app', first);
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-export-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const chunks: Uint8Array[] = [];
    const request = create(ExportLayerRequestSchema, { pod: pod.uid, container: 'app' });
    for await (const { chunk } of node.feature.admin.export(request, NEVER)) chunks.push(chunk);
    await writeFile(join(directory, 'layer.tar'), Buffer.concat(chunks));
    await run('tar', ['--extract', `--file=${directory}/layer.tar`, `--directory=${directory}`]);
    t.equal(await readFile(join(directory, 'data'), 'utf8'), 'data\n');
    t.equal((await stat(join(directory, 'data'))).mode & 0o7777, 0o640);
    const whiteout = await stat(join(directory, 'etc/generation'));
    t.ok(whiteout.isCharacterDevice() && whiteout.rdev === 0, 'a deletion is a character device 0/0');
    const missing = create(ExportLayerRequestSchema, { pod: pod.uid, container: 'app', superseded: true });
    await t.rejects(
      async () => {
        for await (const _ of node.feature.admin.export(missing, NEVER));
      },
      { code: 'NOT_FOUND' },
    );
  });

  t.test('a layer that is mounted in some mount namespace is not moved', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    // Something on the host holds the root filesystem in a mount namespace of its own: a backup, a debugger.
    const rootfs = join(containerd.directory, 'state/io.containerd.runtime.v2.task/k8s.io', first, 'rootfs');
    const elsewhere = await mkdtemp(join(tmpdir(), 'holdfast-mounted-'));
    t.teardown(() => rm(elsewhere, { recursive: true, force: true }));
    const script = 'mount --bind "$0" "$1" && echo ready && read line';
    const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, rootfs, elsewhere], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.teardown(() => holder.kill('SIGKILL'));
    await once(holder.stdout, 'data');
    await node.stop(first);
    await t.rejects(node.create(pod, 'app', 1), { code: 'UNAVAILABLE', message: /still mounted at/ });
    t.match(node.layers(pod), [{ state: 'attached', holder: first }]);
    const gone = once(holder, 'exit');
    holder.stdin.end('\n');
    await gone;
    const second = await node.run(pod, 'app', 1);
    t.equal(await node.shell(second, 'cat /data'), 'data\n');
    await node.stop(second);
  });

  t.test('a layer that something else removed is written off, loudly', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.stop(first);
    await node.cri.removeContainer(first);
    await node.reconcile();
    t.strictSame(node.layers(pod), []);
    t.ok(node.feature.status?.().some(({ text }) => text.includes(pod.name) && text.includes('lost')));
  });
}

if (process.geteuid?.() === 0) await suite();
else t.plan(0, 'containers need root');
