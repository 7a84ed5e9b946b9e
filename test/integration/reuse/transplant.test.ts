// The layer follows the container from attempt to attempt, on a real containerd.
import t from 'tap';
import { APP_IMAGE_NEXT } from '../../../agent/cli/quickstart/images.ts';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { somePod, TestNode } from './node.ts';

/** All share one containerd. */
async function suite(): Promise<void> {
  const containerd = await startPrivateContainerd();
  t.teardown(() => containerd.stop());
  const node = await TestNode.open(containerd, new MemoryStore());
  t.teardown(() => node.close());

  t.test('data, deletions, modes and links survive a restart', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(
      first,
      [
        'echo one > /data',
        'mkdir -p /deep/er && echo x > /deep/er/file && chown 12:34 /deep/er/file && chmod 4751 /deep/er/file',
        'ln -s /data /link && ln /data /hard && mkfifo /fifo',
        'rm /etc/generation && rm -r /var && mkdir /var && echo new > /var/new',
        'chmod 700 /root',
      ].join(' && '),
    );
    await node.stop(first);
    const second = await node.run(pod, 'app', 1);
    t.not(second, first, 'a new container');
    t.equal(await node.shell(second, 'cat /data /link /hard'), 'one\none\none\n');
    t.equal(await node.shell(second, 'stat -c "%a %u %g" /deep/er/file'), '4751 12 34\n');
    t.equal(
      await node.shell(second, 'ls /etc/generation 2>&1 || true'),
      'ls: /etc/generation: No such file or directory\n',
    );
    t.equal(await node.shell(second, 'ls /var'), 'new\n', 'a replaced directory does not show what was in it');
    t.equal(await node.shell(second, 'stat -c "%a %F" /root /fifo'), '700 directory\n644 fifo\n');
    await node.shell(second, 'echo two >> /data');
    await node.stop(second);
    t.match(node.layers(pod), [{ state: 'attached', holder: second, handovers: 1 }]);
  });

  t.test('many attempts, older ones removed as the kubelet does', async (t) => {
    const pod = await node.cri.runPod(somePod());
    let before = await node.run(pod, 'app', 0);
    await node.shell(before, 'echo 0 >> /log');
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      await node.stop(before);
      const id = await node.run(pod, 'app', attempt);
      await node.shell(id, `echo ${attempt} >> /log`);
      await node.remove(pod, 'app', before);
      before = id;
    }
    t.equal(await node.shell(before, 'cat /log'), '0\n1\n2\n3\n4\n5\n6\n7\n8\n');
    t.match(node.layers(pod), [{ state: 'attached', handovers: 8 }]);
    t.strictSame(await node.leases(), [], 'nothing had to be kept');
  });

  t.test('another image begins anew; the old layer goes once the new container has started', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo old > /data');
    await node.stop(first);
    const second = await node.create(pod, 'app', 1, { image: APP_IMAGE_NEXT });
    t.strictSame(
      node.layers(pod).map(({ state }) => state),
      ['attached', 'superseded'],
    );
    await node.remove(pod, 'app', first);
    t.equal((await node.leases()).length, 1, 'kept while the new one has not started');
    await node.start(pod, 'app', second);
    t.equal(await node.shell(second, 'cat /etc/generation; ls /data 2>/dev/null || true'), '2\n');
    await node.reconcile();
    t.strictSame(await node.leases(), []);
    t.match(node.layers(pod), [{ state: 'attached', holder: second, handovers: 0 }]);
    await node.stop(second);
  });

  t.test('an upgrade that never starts is taken back: the old image finds its data', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo old > /data');
    await node.stop(first);
    await node.create(pod, 'app', 1, { image: APP_IMAGE_NEXT });
    const third = await node.run(pod, 'app', 2);
    t.equal(await node.shell(third, 'cat /data'), 'old\n');
    await node.stop(third);
  });

  t.test('a refused creation leaves the layer where it was', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await node.stop(first);
    const second = await node.create(pod, 'app', 1);
    t.match(node.layers(pod), [{ state: 'attached', holder: second }]);
    await node.abandon(pod, 'app', second);
    t.match(node.layers(pod), [{ state: 'attached', holder: first, handovers: 0 }]);
    t.strictSame(await node.leases(), []);
    const third = await node.run(pod, 'app', 1);
    t.equal(await node.shell(third, 'cat /data'), 'data\n');
    await node.stop(third);
  });

  t.test('a refused creation whose predecessor is gone keeps the layer', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await node.stop(first);
    const second = await node.create(pod, 'app', 1);
    await node.remove(pod, 'app', first);
    await node.abandon(pod, 'app', second);
    t.match(node.layers(pod), [{ state: 'kept' }]);
    const third = await node.run(pod, 'app', 1);
    t.equal(await node.shell(third, 'cat /data'), 'data\n');
    await node.stop(third);
    await node.reconcile();
    t.strictSame(await node.leases(), []);
  });

  t.test('StartContainer that fails after the hand-over loses nothing', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await node.stop(first);
    const second = await node.create(pod, 'app', 1, { command: ['/no/such/program'] });
    await t.rejects(node.start(pod, 'app', second));
    await node.remove(pod, 'app', first);
    const third = await node.run(pod, 'app', 2);
    t.equal(await node.shell(third, 'cat /data'), 'data\n');
    await node.remove(pod, 'app', second);
    t.equal(await node.shell(third, 'cat /data'), 'data\n');
    await node.stop(third);
  });

  t.test('a running container is never robbed', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data');
    await t.rejects(node.create(pod, 'app', 1), { name: 'HoldfastError', code: 'PRECONDITION' });
    t.equal(await node.shell(first, 'cat /data'), 'data\n');
    await node.stop(first);
  });

  t.test('init containers and the default policy begin anew', async (t) => {
    const pod = await node.cri.runPod(somePod());
    const init = await node.run(pod, 'app', 0, { kind: 'init' });
    t.strictSame(node.layers(pod), []);
    await node.stop(init);
    const plain = await node.run(pod, 'app', 1, { restart: 'rebuild' });
    t.strictSame(node.layers(pod), []);
    await node.stop(plain);
  });

  t.test('a layer that fails again and again is given up at the limit', async (t) => {
    await node.restartAgent({ options: { fastFailures: { limit: 2, withinMs: 60_000 } } });
    const pod = await node.cri.runPod(somePod());
    const failing = { command: ['/bin/sh', '-c', 'echo broken >> /data; exit 3'] };
    for (let attempt = 0; attempt < 3; attempt += 1) await node.ended(await node.run(pod, 'app', attempt, failing));
    t.match(node.layers(pod), [{ state: 'attached', handovers: 0 }], 'the third began anew');
    t.ok(node.feature.status?.().some(({ level, text }) => level === 'warning' && text.includes(pod.name)));
  });
}

if (process.geteuid?.() === 0) await suite();
else t.plan(0, 'containers need root');
