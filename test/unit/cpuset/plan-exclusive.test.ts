// The choice of CPUs inside a domain, compared with looking at every possible choice.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { buildMachine, type Domain, type Machine } from '../../../agent/cpuset/machine.ts';
import { planExclusive } from '../../../agent/cpuset/plan-exclusive.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { evenHost, makeHost, randomHost } from '../../support/hand-made-hosts.ts';
import { holds } from '../../support/properties.ts';

const RUNS = 300;

function wholeHost(machine: Machine): Domain {
  const parts = machine.nodes.map((node) => node.domain);
  return { cores: parts.flatMap((part) => part.cores), parts };
}

/** How good a choice is: CPUs in cores taken whole, and whole cores that were broken. */
function quality(machine: Machine, free: Uint8Array, chosen: readonly number[]): readonly [number, number] {
  let whole = 0;
  let broken = 0;
  for (const core of machine.cores) {
    const taken = core.cpus.filter((cpu) => chosen.includes(cpu)).length;
    const wasWhole = core.cpus.length === core.threads && core.cpus.every((cpu) => free[cpu] === 1);
    if (wasWhole && taken === core.threads) whole += taken;
    else if (wasWhole && taken > 0) broken += 1;
  }
  return [whole, broken];
}

/** The best that can be had, found by trying every number of threads from every core. */
function bestQuality(machine: Machine, free: Uint8Array, count: number): readonly [number, number] {
  let best: readonly [number, number] = [-1, 0];
  const cores = machine.cores.map((core) => ({ core, free: core.cpus.filter((cpu) => free[cpu] === 1) }));
  const search = (index: number, left: number, whole: number, broken: number): void => {
    if (left === 0) {
      if (whole > best[0] || (whole === best[0] && broken < best[1])) best = [whole, broken];
      return;
    }
    const at = cores[index];
    if (at === undefined) return;
    const isWhole = at.free.length === at.core.threads;
    for (let take = Math.min(left, at.free.length); take >= 0; take -= 1) {
      const full = isWhole && take === at.core.threads;
      search(index + 1, left - take, whole + (full ? take : 0), broken + (isWhole && take > 0 && !full ? 1 : 0));
    }
  };
  search(0, count, 0, 0);
  return best;
}

await t.test('packs whole cores as well as any choice could, and breaks as few', async (t) => {
  const property = fc.property(
    randomHost,
    fc.infiniteStream(fc.boolean()),
    fc.nat(),
    ({ topology, reserved }, taken, size) => {
      const machine = buildMachine(topology, reserved);
      const free = machine.allocatable.map((may) => (may === 1 && taken.next().value !== true ? 1 : 0));
      const available = free.reduce((sum, one) => sum + one, 0);
      fc.pre(available > 0);
      const count = 1 + (size % Math.min(available, 8));
      const chosen = planExclusive(machine, wholeHost(machine), free, count) ?? [];
      assert.equal(new Set(chosen).size, count, 'as many as asked for');
      assert.ok(chosen.every((cpu) => free[cpu] === 1));
      assert.deepEqual(quality(machine, free, chosen), bestQuality(machine, free, count));
    },
  );
  holds(t, 'as good as the best', property, RUNS);
});

await t.test('too few free CPUs', async (t) => {
  const machine = buildMachine(evenHost(1, 2, 2), CpuSet.EMPTY);
  t.equal(planExclusive(machine, wholeHost(machine), machine.allocatable, 5), undefined);
});

await t.test('an odd remainder takes a thread of a core that is split already', async (t) => {
  const machine = buildMachine(evenHost(1, 4, 2), CpuSet.EMPTY);
  const free = Uint8Array.from(machine.allocatable);
  free[5] = 0;
  t.strictSame(planExclusive(machine, wholeHost(machine), free, 3), [0, 1, 4]);
});

await t.test('a core with a reserved thread is split from the start', async (t) => {
  const machine = buildMachine(evenHost(1, 4, 2), CpuSet.of(0));
  t.strictSame(planExclusive(machine, wholeHost(machine), machine.allocatable, 1), [1]);
  t.strictSame(planExclusive(machine, wholeHost(machine), machine.allocatable, 2), [2, 3]);
});

await t.test('stays below one last-level cache, in the fullest that has room', async (t) => {
  const host = evenHost(1, 8, 2, { coresPerL3: 4 });
  const machine = buildMachine(host, CpuSet.EMPTY);
  const free = Uint8Array.from(machine.allocatable);
  free.fill(0, 8, 12);
  t.strictSame(planExclusive(machine, wholeHost(machine), free, 4), [12, 13, 14, 15], 'the fuller one has just room');
  t.strictSame(planExclusive(machine, wholeHost(machine), free, 6), [0, 1, 2, 3, 4, 5], 'only the other has room');
  t.strictSame(
    planExclusive(machine, wholeHost(machine), free, 10),
    [0, 1, 2, 3, 4, 5, 6, 7, 12, 13],
    'both are needed',
  );
});

await t.test('efficiency cores make up odd numbers on hybrid hosts', async (t) => {
  const machine = buildMachine(makeHost({ nodes: [{ id: 0, cores: [2, 2, 1, 1] }] }), CpuSet.EMPTY);
  t.strictSame(planExclusive(machine, wholeHost(machine), machine.allocatable, 3), [0, 1, 4]);
  t.strictSame(planExclusive(machine, wholeHost(machine), machine.allocatable, 1), [4]);
});
