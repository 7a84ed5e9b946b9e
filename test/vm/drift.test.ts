// What systemd, containerd and operators change on a real node is put right or does not matter: with both cgroup drivers.
import t, { type Test } from 'tap';
import { CpuSet } from '../../agent/model/cpu-set.ts';
import { sharedPool } from '../integration/lifecycle/facts.ts';
import { dataOf, leaveNote, neighbour, somePod } from '../integration/lifecycle/pods.ts';
import { NEEDS_ROOT } from './machine/machine.ts';
import { TWO_NODES } from './machine/shapes.ts';
import { assertNoDoubleUse, cgroupOf, confinementOf, retrying, settles } from './node/facts.ts';
import { startNode } from './node/node.ts';
import { KEEPS_ALL, keepRunning } from './node/pods.ts';

for (const cgroupDriver of ['systemd', 'cgroupfs'] as const) {
  t.test(`the cgroup driver ${cgroupDriver}`, { skip: NEEDS_ROOT }, async (t) => {
    const [pod, other] = [somePod(KEEPS_ALL), neighbour()];
    const node = await startNode(t, TWO_NODES, { cgroupDriver });
    const { machine, kubelet } = node;
    await node.writePods([pod, other]);
    const owner = await keepRunning(node, pod);
    const shared = await keepRunning(node, other);
    await leaveNote(kubelet, owner);
    t.match(await cgroupOf(node, owner), cgroupDriver === 'systemd' ? /\.scope$/ : /^kubepods\/pod/);
    const owned = await confinementOf(node, owner);
    const pool = await retrying('the pool to be told', () => sharedPool(node));
    t.equal(CpuSet.parse(owned.cpus).overlaps(CpuSet.parse(pool)), false, 'the owner has its CPU for itself');
    const bothAreWhereTheyBelong = async (t: Test, what: string): Promise<void> => {
      await settles(t, `${what}: the owner`, owned, () => confinementOf(node, owner));
      await settles(t, `${what}: the neighbour`, pool, async () => (await confinementOf(node, shared)).cpus);
    };
    await bothAreWhereTheyBelong(t, 'at first');

    await t.test('something writes their cpuset.cpus', async (t) => {
      for (const id of [owner, shared]) {
        // A write that the kernel refuses fails; what was written may be put right before anybody has read it.
        await machine.run(`echo 0-3 > /sys/fs/cgroup/${await cgroupOf(node, id)}/cpuset.cpus`);
      }
      await bothAreWhereTheyBelong(t, 'after that');
    });

    await t.test('systemctl daemon-reload', async (t) => {
      await machine.run('systemctl daemon-reload');
      await bothAreWhereTheyBelong(t, 'after that');
      await assertNoDoubleUse(t, node);
    });

    await t.test('containerd restarts and collects its garbage', async (t) => {
      await kubelet.stopContainer(owner, 0);
      await kubelet.removeContainer(owner);
      await machine.run('systemctl restart containerd');
      const gc = 'ctr --namespace k8s.io leases create --id gc && ctr --namespace k8s.io leases delete --sync gc';
      await retrying('containerd to collect its garbage', () => machine.run(gc));
      await settles(t, 'the neighbour stays', pool, async () => (await confinementOf(node, shared)).cpus);
      const again = await keepRunning(node, pod);
      t.equal(await dataOf(kubelet, again), 'started started noted', 'the kept layer was not garbage');
      t.strictSame(await confinementOf(node, again), owned);
      await assertNoDoubleUse(t, node);
    });
  });
}
