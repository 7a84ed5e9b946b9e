// The agent dies between any two steps of a change: the next start completes or undoes it, and no data is lost.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { RunningPod } from '../../../agent/cli/quickstart/cri-client.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { type ContainerId, containerId } from '../../../agent/model/ids.ts';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { openStore } from '../../../agent/state/open-store.ts';
import { FAILPOINT_VARIABLE } from '../../../lib/failpoint.ts';
import { somePod, TestNode } from './node.ts';

const MOVE_POINTS = ['journalled', 'renamed', 'recreated', 'synced', 'committed'].map((name) => `reuse.move.${name}`);
const KEEP_POINTS = ['journalled', 'leased', 'detached', 'committed'].map((name) => `reuse.keep.${name}`);
const DROP_POINTS = ['removed', 'released'].map((name) => `reuse.drop.${name}`);

/** All share one containerd. */
async function suite(): Promise<void> {
  const containerd = await startPrivateContainerd();
  t.teardown(() => containerd.stop());
  const node = await TestNode.open(containerd, new MemoryStore());
  t.teardown(() => node.close());

  /** Does the work with an agent that stops for ever at the failpoint, as one that was killed there; then starts it again. */
  async function dieAt(point: string, work: () => Promise<unknown>, meanwhile?: () => Promise<void>): Promise<void> {
    let died = (): void => {};
    const dead = new Promise<void>((resolve) => {
      died = resolve;
    });
    await node.restartAgent({
      failpoint: (name) => {
        if (name !== point) return undefined;
        died();
        return new Promise<void>(() => {});
      },
    });
    const survived = work().then(() => 'survived' as const);
    // The change may be carried out after the call was answered (drops): then only the point ends the wait.
    const outcome = point.startsWith('reuse.drop.')
      ? await survived.then(() => dead)
      : await Promise.race([survived, dead]);
    if (outcome === 'survived') throw new Error(`${point} was not reached`);
    await meanwhile?.();
    await node.restartAgent();
  }

  /** What the pipeline does before the retry of a CreateContainer whose answer was lost. */
  async function removeOrphans(pod: RunningPod, attempt: number): Promise<void> {
    for (const container of await node.runtime.listContainers(new AbortController().signal)) {
      if (container.podUid !== pod.uid || container.attempt !== attempt || container.state !== 'created') continue;
      await node.remove(pod, 'app', container.id, 'created');
    }
  }

  async function withData(): Promise<{ readonly pod: RunningPod; readonly first: ContainerId }> {
    const pod = await node.cri.runPod(somePod());
    const first = await node.run(pod, 'app', 0);
    await node.shell(first, 'echo data > /data; rm /etc/generation');
    await node.stop(first);
    return { pod, first };
  }

  async function assertIntact(t: Test, pod: RunningPod, attempt: number): Promise<void> {
    const id = await node.run(pod, 'app', attempt);
    t.equal(await node.shell(id, 'cat /data; ls /etc/generation 2>/dev/null || true'), 'data\n');
    t.equal(node.layers(pod).length, 1, 'one layer, one holder');
    await node.stop(id);
    await node.reconcile();
    t.strictSame(await node.leases(), [], 'no lease is left');
  }

  for (const point of MOVE_POINTS) {
    t.test(`killed at ${point}, from a container`, async (t) => {
      const { pod } = await withData();
      await dieAt(point, () => node.create(pod, 'app', 1));
      await removeOrphans(pod, 1);
      await assertIntact(t, pod, 1);
    });

    t.test(`killed at ${point}, from a kept layer`, async (t) => {
      const { pod, first } = await withData();
      await node.remove(pod, 'app', first);
      await dieAt(point, () => node.create(pod, 'app', 1));
      await removeOrphans(pod, 1);
      await assertIntact(t, pod, 1);
    });

    t.test(`killed at ${point}, on the way back`, async (t) => {
      const { pod } = await withData();
      const second = await node.create(pod, 'app', 1);
      await dieAt(point, () => node.abandon(pod, 'app', second));
      await removeOrphans(pod, 1);
      await assertIntact(t, pod, 1);
    });
  }

  for (const point of KEEP_POINTS) {
    t.test(`killed at ${point}`, async (t) => {
      const { pod, first } = await withData();
      await dieAt(point, () => node.remove(pod, 'app', first));
      await node.remove(pod, 'app', first);
      t.match(node.layers(pod), [{ state: 'kept' }]);
      await assertIntact(t, pod, 1);
    });
  }

  for (const point of DROP_POINTS) {
    t.test(`killed at ${point}`, async (t) => {
      const { pod, first } = await withData();
      await node.remove(pod, 'app', first);
      await dieAt(point, async () => {
        const id = await node.run(pod, 'app', 1);
        await node.stop(id);
      });
      await assertIntact(t, pod, 2);
    });
  }

  t.test('the runtime is away when the agent starts again: nothing goes on until the change is resolved', async (t) => {
    const { pod } = await withData();
    await dieAt(
      'reuse.move.recreated',
      () => node.create(pod, 'app', 1),
      () => containerd.kill('SIGKILL'),
    );
    t.ok(node.feature.status?.().some(({ text }) => text.includes('unfinished')));
    const creating = { ...node.creating(pod, 'app', 1) };
    await t.rejects(async () => node.feature.containerCreating?.(creating), { code: 'UNAVAILABLE' });
    await containerd.start();
    // Until the channel has connected again.
    const never = new AbortController().signal;
    await pollUntil('the runtime to answer', 10_000, () => node.runtime.version(never));
    await node.reconcile();
    t.notOk(node.feature.status?.().some(({ text }) => text.includes('unfinished')));
    await removeOrphans(pod, 1);
    await assertIntact(t, pod, 1);
  });

  t.test('a real process, killed by SIGKILL at every point of a hand-over, with the durable store', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-reuse-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const onProblem = (error: Error): void => {
      t.fail(error.message);
    };
    for (const point of MOVE_POINTS) {
      const { store } = await openStore({ directory, onProblem });
      await node.restartAgent({}, store);
      const { pod } = await withData();
      const orphan = await node.createAtRuntime(pod, 'app', 1);
      await store.close();

      const child = spawn(
        process.execPath,
        ['--import=tsx', fileURLToPath(new URL('dying-agent.ts', import.meta.url)), containerd.socketPath, directory],
        {
          env: { ...process.env, [FAILPOINT_VARIABLE]: point },
          stdio: ['pipe', 'inherit', 'inherit'],
        },
      );
      child.stdin.end(JSON.stringify({ uid: pod.uid, namespace: pod.namespace, name: pod.name, orphan }));
      const [, signal] = await once(child, 'exit');
      t.equal(signal, 'SIGKILL', `died at ${point}`);

      const reopened = await openStore({ directory, onProblem });
      await node.restartAgent({}, reopened.store);
      await removeOrphans(pod, 1);
      await assertIntact(t, pod, 1);
      await node.restartAgent({}, new MemoryStore());
      await reopened.store.close();
    }
  });

  t.test('the store is lost: layers are found again', async (t) => {
    const running = await withData();
    const runningId = await node.run(running.pod, 'app', 1);
    const kept = await withData();
    await node.remove(kept.pod, 'app', kept.first);
    const exited = await withData();
    const handedOver = await withData();
    await node.create(handedOver.pod, 'app', 1);

    await node.restartAgent({}, new MemoryStore());
    t.match(node.layers(running.pod), [{ state: 'attached', holder: runningId }]);
    t.match(node.layers(kept.pod), [{ state: 'kept' }]);
    t.match(node.layers(exited.pod), [{ state: 'attached', holder: exited.first }]);
    await node.stop(runningId);
    await removeOrphans(handedOver.pod, 1);
    for (const { pod } of [running, exited, handedOver]) {
      const id = await node.run(pod, 'app', 2);
      t.equal(await node.shell(id, 'cat /data'), 'data\n');
      await node.stop(id);
    }
    await assertIntact(t, kept.pod, 2);
  });

  t.test('the store is lost in the middle of a change', async (t) => {
    for (const point of [...MOVE_POINTS, ...KEEP_POINTS]) {
      const { pod, first } = await withData();
      const store = new MemoryStore();
      await node.restartAgent({}, store);
      await dieAt(point, () =>
        point.includes('.move.') ? node.create(pod, 'app', 1) : node.remove(pod, 'app', first),
      );
      await node.restartAgent({}, new MemoryStore());
      await removeOrphans(pod, 1);
      const id = await node.run(pod, 'app', 2);
      t.equal(await node.shell(id, 'cat /data'), 'data\n', point);
      await node.stop(id);
      await node.reconcile();
      t.notOk((await node.leases()).includes(containerId(first)), `${point}: no lease is left`);
    }
  });
}

if (process.geteuid?.() === 0) await suite();
else t.plan(0, 'containers need root');
