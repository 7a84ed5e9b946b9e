// The planner's yes or no about one NUMA node, and the same in words.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { canTake } from '../../../agent/cpuset/plan-lacks.ts';
import type { Need } from '../../../agent/cpuset/plan-need.ts';
import { whyNot } from '../../../agent/cpuset/plan-reasons.ts';
import { Room } from '../../../agent/cpuset/room.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { GIB, randomHost } from '../../support/hand-made-hosts.ts';
import { holds } from '../../support/properties.ts';

const RUNS = 500;
const PAGE = 2 * 1024 ** 2;

const need: fc.Arbitrary<Need> = fc.record({
  exclusive: fc.integer({ min: 0, max: 6 }),
  milli: fc.constantFrom(0, 250, 1000, 3500),
  shared: fc.boolean(),
  memory: fc.constantFrom(undefined, 0, GIB / 4, GIB, 6 * GIB),
  hugepages: fc.constantFrom(0, 2, 9).map((pages) => new Map(pages === 0 ? [] : [[PAGE, pages * PAGE]])),
});

/** What others have taken: CPUs by number, and a promise per node by its position. */
const taken = fc.record({
  cpus: fc.uniqueArray(fc.nat({ max: 40 }), { maxLength: 12 }),
  unboundMemory: fc.constantFrom(0, GIB),
  shares: fc.array(
    fc.record({
      memory: fc.constantFrom(0, GIB / 2, 4 * GIB),
      milli: fc.constantFrom(0, 500, 2000),
      shared: fc.boolean(),
      pages: fc.constantFrom(0, 4),
    }),
    { maxLength: 4 },
  ),
});

await t.test('a NUMA node can take exactly what there is no reason against', async (t) => {
  const reasons = new Set<string>();
  let takes = 0;
  const property = fc.property(randomHost, taken, need, fc.constantFrom(0, GIB / 2), (...given) => {
    const [{ topology, reserved }, { cpus, unboundMemory, shares }, asked, reservedMemory] = given;
    const machine = buildMachine(topology, reserved);
    const room = new Room(machine, { strategy: 'pack', unboundMemory: 'proportional', reservedMemory });
    room.takeCpus(CpuSet.from(cpus));
    const claimed = shares.map(({ pages, ...share }, index) => ({
      ...share,
      node: machine.nodes[index]?.id ?? -1,
      hugepages: new Map([[PAGE, pages * PAGE]]),
    }));
    room.addClaim({ nodes: CpuSet.EMPTY, shares: claimed, unboundMemory });
    for (let node = 0; node < machine.nodes.length; node += 1) {
      const reason = whyNot(room, node, asked);
      assert.equal(canTake(room, node, asked), reason === undefined, reason);
      if (reason === undefined) takes += 1;
      for (const word of reason?.split(' and ') ?? []) reasons.add(word.replace(/[\d.]+( [KMG]iB)?/g, '#'));
    }
  });
  holds(t, 'the same answer', property, RUNS);
  t.ok(takes > RUNS / 10, `there was room ${takes} times`);
  t.ok(reasons.size >= 8, `most reasons came up: ${[...reasons].join(' | ')}`);
});
