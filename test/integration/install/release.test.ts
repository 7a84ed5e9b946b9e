// What uninstalling does for the containers that stay: every CPU again, and the quotas of their limits; kept layers go.
import { pino } from 'pino';
import t from 'tap';
import { readQuota } from '../../../agent/host/cgroup-quota.ts';
import { openCgroups } from '../../../agent/host/cgroupfs.ts';
import { openHostTree } from '../../../agent/host/host-tree.ts';
import { dropLeasedLayers, listLeasedLayers } from '../../../agent/install/drop-layers.ts';
import { releaseCpus } from '../../../agent/install/release-cpus.ts';
import { openRuntime } from '../../../agent/runtime/containerd.ts';
import { collectGarbage, confinementOf, leasesOf, sharedPool, snapshotsOf } from '../lifecycle/facts.ts';
import { NEEDS_CPUS, settles, startNode, until } from '../lifecycle/harness.ts';
import { crash, KEEPS_ALL, leaveNote, neighbour, somePod } from '../lifecycle/pods.ts';

t.test('Holdfast leaves, containers stay', { skip: NEEDS_CPUS }, async (t) => {
  const [owner, other, keeper] = [somePod(KEEPS_ALL), neighbour(), somePod({ 'holdfast.dev/restart': 'reuse' })];
  const node = await startNode(t, { pods: [owner, other, keeper] });
  const { kubelet, direct, containerd } = node;
  const whole = await sharedPool(node);
  const ownerId = (await kubelet.makePod(owner)).containerIds.get('app') ?? '';
  const otherId = (await kubelet.makePod(other)).containerIds.get('app') ?? '';
  const keeperId = (await kubelet.makePod(keeper)).containerIds.get('app') ?? '';
  await leaveNote(kubelet, keeperId);
  await crash(kubelet, keeperId, until);
  await kubelet.removeContainer(keeperId);
  t.equal((await leasesOf(node)).length, 1, 'a layer is kept');
  const before = await snapshotsOf(node);

  const cgroups = await openCgroups('/');
  const quotasOf = async () => {
    const cgroup = await cgroups.locate(await direct.processId(ownerId), ownerId, owner.uid);
    return Promise.all((cgroup?.quotas ?? []).map(readQuota));
  };
  t.strictSame(await quotasOf(), ['none', 'none'], 'the quotas of an owner and its pod are lifted');
  const pids = [await direct.processId(ownerId), await direct.processId(otherId)];

  await node.shim.kill('SIGTERM');
  await node.agent.kill('SIGTERM');
  const runtime = openRuntime({ endpoint: containerd.socketPath, logger: pino({ level: 'silent' }) });
  t.teardown(() => runtime.close());
  const signal = AbortSignal.timeout(120_000);
  const options = { runtime, runtimeSocket: containerd.socketPath, tree: await openHostTree('/'), signal };

  const released = await releaseCpus(options);
  t.strictSame(
    released.map(({ title }) => title).toSorted(),
    [owner, other].map(({ name }) => `default/${name}/app`).toSorted(),
  );
  for (const id of [ownerId, otherId]) t.equal((await confinementOf(node, id)).cpus, whole);
  t.strictSame(await quotasOf(), [100_000, 100_000], 'one CPU, as its limit says');
  t.strictSame([await direct.processId(ownerId), await direct.processId(otherId)], pids, 'nobody was restarted');
  await releaseCpus(options);
  t.strictSame(await quotasOf(), [100_000, 100_000], 'a second time changes nothing');

  t.match(await listLeasedLayers(runtime, signal), [{ title: `default/${keeper.name}/app` }]);
  t.equal(await dropLeasedLayers(runtime, signal), 1);
  t.strictSame(await leasesOf(node), []);
  await collectGarbage(node);
  await settles(
    t,
    'the kept layer is gone, and no other',
    before.length - 1,
    async () => (await snapshotsOf(node)).length,
  );
  t.equal(await dropLeasedLayers(runtime, signal), 0);
});
