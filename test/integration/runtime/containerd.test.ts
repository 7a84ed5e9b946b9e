// The contract of ContainerRuntime, LayerStore and SpecStore, on a real containerd.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { CriClient } from '../../../agent/cli/quickstart/cri-client.ts';
import { APP_IMAGE } from '../../../agent/cli/quickstart/images.ts';
import type { PodDescription } from '../../../agent/cli/quickstart/pod-requests.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { startPrivateContainerd } from '../../../agent/cli/quickstart/private-containerd.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { containerId, podUid, sandboxId } from '../../../agent/model/ids.ts';
import { openRuntime } from '../../../agent/runtime/containerd.ts';
import type { LayerStore } from '../../../agent/runtime/runtime.ts';

const NEVER = new AbortController().signal;
const NOBODY = containerId('no-such-container');
const SLEEP = ['/bin/sh', '-c', "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"];

/** All share one containerd. */
async function suite(): Promise<void> {
  const containerd = await startPrivateContainerd();
  t.teardown(() => containerd.stop());
  const { socketPath, directory, cgroupParent } = containerd;
  const cri = new CriClient({ socketPath, directory, cgroupParent });
  t.teardown(() => cri.close());
  const runtime = openRuntime({ endpoint: socketPath, logger: pino({ level: 'silent' }) });
  t.teardown(() => runtime.close());

  const POD: PodDescription = {
    name: 'contract',
    namespace: 'tests',
    uid: 'contract-uid',
    annotations: { 'example.org/note': 'kept' },
    containers: [{ name: 'app', image: APP_IMAGE, command: SLEEP }],
  };

  async function layerStore(): Promise<LayerStore> {
    await runtime.version(NEVER);
    if (runtime.layers === undefined) throw new Error('containerd has layers');
    return runtime.layers;
  }

  t.test('says what it is, and that it has layers and specs, once it has answered', async (t) => {
    t.equal(runtime.layers, undefined);
    t.equal(runtime.specs, undefined);
    t.match(await runtime.version(NEVER), { name: 'containerd', version: /\d+\.\d+/ });
    t.ok(runtime.layers);
    t.ok(runtime.specs);
  });

  t.test('pods and containers, from creation to removal', async (t) => {
    const pod = await cri.runPod(POD);
    const id = containerId(await cri.createContainer(pod, 'app'));
    t.match(await runtime.listSandboxes(NEVER), [
      { id: pod.sandboxId, podUid: POD.uid, podNamespace: 'tests', podName: 'contract', attempt: 0, ready: true },
    ]);
    t.equal((await runtime.sandboxStatus(sandboxId(pod.sandboxId), NEVER))?.annotations['example.org/note'], 'kept');
    t.match(await runtime.listContainers(NEVER), [
      { id, sandboxId: pod.sandboxId, podUid: POD.uid, podName: 'contract', name: 'app', attempt: 0, state: 'created' },
    ]);
    t.equal((await runtime.listContainers(NEVER, podUid(POD.uid))).length, 1);
    t.strictSame(await runtime.listContainers(NEVER, podUid('another')), []);
    t.match(await runtime.containerStatus(id, NEVER), { sandboxId: pod.sandboxId, state: 'created', startedAt: 0 });
    t.equal(await runtime.processId(id, NEVER), undefined, 'a created container has no process');

    const before = Date.now();
    await cri.startContainer(id);
    const status = await runtime.containerStatus(id, NEVER);
    t.match(status, { state: 'running', finishedAt: 0 });
    t.ok((status?.startedAt ?? 0) >= before - 1000 && (status?.startedAt ?? 0) <= Date.now() + 1000, 'milliseconds');
    const pid = await runtime.processId(id, NEVER);
    t.match(await readFile(`/proc/${pid}/cmdline`, 'utf8'), /while true/);
    t.equal((await runtime.processIds(NEVER)).get(id), pid);

    await runtime.updateCpuset(id, CpuSet.of(0), undefined, NEVER);
    t.match(await readFile(`/proc/${pid}/status`, 'utf8'), /Cpus_allowed_list:\t0\n/);

    await runtime.stopContainer(id, 0, NEVER);
    t.match(await runtime.containerStatus(id, NEVER), { state: 'exited', exitCode: 137 });
    t.equal(await runtime.processId(id, NEVER), undefined);
    t.notOk((await runtime.processIds(NEVER)).has(id));
    await runtime.removeContainer(id, NEVER);
    t.equal(await runtime.containerStatus(id, NEVER), undefined);
    await cri.deletePod(POD.uid);
  });

  t.test('what is not there is undefined, or done already', async (t) => {
    const layers = await layerStore();
    const missing = { snapshotter: 'overlayfs', key: 'no-such-snapshot' };
    t.equal(await runtime.sandboxStatus(sandboxId('no-such-sandbox'), NEVER), undefined);
    t.equal(await runtime.containerStatus(NOBODY, NEVER), undefined);
    t.equal(await runtime.processId(NOBODY, NEVER), undefined);
    await runtime.stopContainer(NOBODY, 0, NEVER);
    await runtime.removeContainer(NOBODY, NEVER);
    t.equal(await layers.snapshotOf(NOBODY, NEVER), undefined);
    t.equal(await layers.parentOf(missing, NEVER), undefined);
    t.equal(await layers.upperdirOf(missing, NEVER), undefined);
    await layers.removeSnapshot(missing, NEVER);
    await layers.deleteLease('no-such-lease', NEVER);
    await t.rejects(layers.detachSnapshot(NOBODY, NEVER), { name: 'HoldfastError', code: 'NOT_FOUND' });
    await t.rejects(runtime.updateCpuset(NOBODY, CpuSet.of(0), undefined, NEVER), { name: 'HoldfastError' });
  });

  t.test('layers: found, measured, detached, kept by a lease, attached again', async (t) => {
    const layers = await layerStore();
    const pod = await cri.runPod({ ...POD, uid: 'layers-uid' });
    const id = containerId(await cri.createContainer(pod, 'app'));
    await cri.startContainer(id);
    await cri.exec(id, '/bin/sh', '-c', 'dd if=/dev/urandom of=/data bs=1M count=1');
    const ref = await layers.snapshotOf(id, NEVER);
    if (ref === undefined) throw new Error('a container has a snapshot');
    t.strictSame(ref, { snapshotter: 'overlayfs', key: id });
    t.match(await layers.parentOf(ref, NEVER), /^sha256:/);
    const upperdir = await layers.upperdirOf(ref, NEVER);
    t.equal((await readFile(join(upperdir ?? '', 'data'))).length, 1024 ** 2);
    const { size, inodes } = await layers.usageOf(ref, NEVER);
    t.ok(size >= 1024 ** 2 && inodes >= 2);

    await runtime.stopContainer(id, 0, NEVER);
    const labels = { 'holdfast.dev/test': 'a "quoted" value, with: marks' };
    await layers.createLease('contract-lease', ref, labels, NEVER);
    await layers.createLease('contract-lease', ref, labels, NEVER);
    const leases = await layers.listLeases('holdfast.dev/test', NEVER);
    t.match(leases, [{ id: 'contract-lease', labels }]);
    t.ok(Math.abs((leases[0]?.createdAt ?? 0) - Date.now()) < 60_000, 'milliseconds');
    t.strictSame(await layers.listLeases('holdfast.dev/other', NEVER), []);

    await layers.detachSnapshot(id, NEVER);
    t.equal(await layers.snapshotOf(id, NEVER), undefined);
    await layers.detachSnapshot(id, NEVER);
    await runtime.removeContainer(id, NEVER);
    t.equal(await layers.upperdirOf(ref, NEVER), upperdir, 'the snapshot outlives its container');
    await layers.removeSnapshot(ref, NEVER);
    await layers.deleteLease('contract-lease', NEVER);
    t.equal(await layers.parentOf(ref, NEVER), undefined);
    t.strictSame(await layers.listLeases('holdfast.dev/test', NEVER), []);
    await cri.deletePod('layers-uid');
  });

  t.test('specs: edited between creation and start, all else untouched', async (t) => {
    await runtime.version(NEVER);
    const pod = await cri.runPod({ ...POD, uid: 'specs-uid' });
    const id = containerId(await cri.createContainer(pod, 'app'));
    const limits = [{ type: 'RLIMIT_NOFILE', soft: 777, hard: 778 }];
    t.equal(await runtime.specs?.edit(id, () => undefined, NEVER), false);
    const changed = await runtime.specs?.edit(
      id,
      (spec) => {
        const process = spec['process'];
        if (typeof process !== 'object' || process === null) throw new Error('a spec has a process');
        return { ...spec, process: { ...process, rlimits: limits } };
      },
      NEVER,
    );
    t.equal(changed, true);
    await cri.startContainer(id);
    const { stdout } = await cri.exec(id, '/bin/sh', '-c', 'grep "Max open files" /proc/1/limits');
    t.match(stdout, /777\s+778/);
    await cri.deletePod('specs-uid');
  });

  t.test('a caller that gives up is not kept waiting, and the reason is its own', async (t) => {
    const reason = new Error('enough');
    await t.rejects(runtime.listContainers(AbortSignal.abort(reason)), reason);
    const controller = new AbortController();
    const call = runtime.listContainers(controller.signal);
    controller.abort(reason);
    await t.rejects(call, reason);
  });

  t.test('the runtime goes away and comes back', async (t) => {
    await containerd.kill('SIGKILL');
    await t.rejects(runtime.listContainers(NEVER), { name: 'HoldfastError', code: 'UNAVAILABLE' });
    t.ok(runtime.layers, 'what was known of it stays known');
    await containerd.start();
    const found = await pollUntil('the runtime to answer', 10_000, () => runtime.version(NEVER));
    t.equal(found.name, 'containerd');
  });
}

if (process.geteuid?.() === 0) await suite();
else t.plan(0, 'containers need root');
