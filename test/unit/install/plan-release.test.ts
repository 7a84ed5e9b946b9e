// Whoever was confined has every CPU again when Holdfast leaves, and the quota that its limit means.
import t from 'tap';
import { type ConfinedContainer, planPodQuota, planRelease } from '../../../agent/install/plan-release.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';

const ALL = CpuSet.parse('0-3');
const NODES = CpuSet.parse('0-1');
const container: ConfinedContainer = {
  id: 'a',
  title: 'default/web/app',
  cpus: CpuSet.parse('1-3'),
  mems: NODES,
  hasBoundMemory: false,
  ownedCpus: 0,
};
const release = (change: Partial<ConfinedContainer>) => {
  const [found] = planRelease([{ ...container, ...change }], ALL, NODES);
  return found && { cpus: found.cpus.toString(), mems: found.mems?.toString(), quota: found.quota };
};

t.test('shared containers lose their mask and nothing else', async (t) => {
  t.strictSame(release({}), { cpus: '0-3', mems: undefined, quota: undefined });
});

t.test('who has everything is not touched', async (t) => {
  t.equal(release({ cpus: ALL }), undefined);
  t.equal(release({ cpus: CpuSet.EMPTY, mems: CpuSet.EMPTY }), undefined);
});

t.test('bound memory is unbound', async (t) => {
  t.strictSame(release({ mems: CpuSet.of(0), hasBoundMemory: true }), { cpus: '0-3', mems: '0-1', quota: undefined });
});

t.test('an owner of two CPUs has the quota of its limit again', async (t) => {
  t.strictSame(release({ cpus: CpuSet.of(2, 3), ownedCpus: 2 }), { cpus: '0-3', mems: undefined, quota: 200_000 });
  t.match(release({ cpus: ALL, ownedCpus: 4 }), { quota: 400_000 }, 'also one that owned every CPU');
});

t.test('the quota of a pod is that of its containers together, where all have one', async (t) => {
  t.equal(planPodQuota([200_000, 50_000, undefined]), 250_000);
  t.equal(planPodQuota([200_000, 'none']), undefined);
  t.equal(planPodQuota([undefined]), undefined);
});
