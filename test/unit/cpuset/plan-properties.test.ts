// What must hold whatever is asked of the planner, in any order, on any host.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { PodHolding } from '../../../agent/cpuset/holding.ts';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine, type Machine } from '../../../agent/cpuset/machine.ts';
import type { ContainerAsk, Need } from '../../../agent/cpuset/plan-need.ts';
import { fits } from '../../../agent/cpuset/plan-nodes.ts';
import { planPod } from '../../../agent/cpuset/plan-pod.ts';
import type { PlanRules, Room } from '../../../agent/cpuset/room.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { NumaPolicy } from '../../../agent/model/policy.ts';
import { GIB, randomHost } from '../../support/hand-made-hosts.ts';
import { holds } from '../../support/properties.ts';

const RUNS = 250;

const rules: fc.Arbitrary<PlanRules> = fc.record({
  strategy: fc.constantFrom('spread' as const, 'pack' as const),
  unboundMemory: fc.constantFrom('proportional' as const, 'ignore' as const),
  reservedMemory: fc.constantFrom(0, GIB / 2),
});

const ask: fc.Arbitrary<Omit<ContainerAsk, 'name'>> = fc
  .record({
    kind: fc.constantFrom('app' as const, 'app' as const, 'init' as const, 'sidecar' as const),
    exclusive: fc.boolean(),
    cpus: fc.integer({ min: 1, max: 6 }),
    memory: fc.constantFrom(undefined, 0, GIB / 4, GIB, 3 * GIB),
    pages: fc.constantFrom(0, 0, 2, 6),
    own: fc.constantFrom(undefined, undefined, 'none' as const, 'preferred' as const, 'required' as const),
  })
  .map(({ kind, exclusive, cpus, memory, pages, own }) => ({
    kind,
    cpuset: exclusive ? ('exclusive' as const) : ('shared' as const),
    numa: own ?? 'none',
    numaScope: own === undefined ? ('pod' as const) : ('container' as const),
    need: {
      exclusive: exclusive ? cpus : 0,
      milli: exclusive ? 0 : cpus * 250,
      shared: !exclusive,
      memory,
      hugepages: new Map(pages === 0 ? [] : [[2 * 1024 ** 2, pages * 2 * 1024 ** 2]]),
    },
  }));

interface PodAsk {
  readonly numa: NumaPolicy;
  readonly containers: readonly ContainerAsk[];
}

const pod: fc.Arbitrary<PodAsk> = fc
  .record({
    numa: fc.constantFrom('none' as const, 'preferred' as const, 'required' as const),
    asks: fc.array(ask, { minLength: 1, maxLength: 3 }),
  })
  .map(({ numa, asks }) => ({
    numa,
    containers: asks.map((each, index) => ({
      ...each,
      name: `c${index}`,
      numa: each.numaScope === 'pod' ? numa : each.numa,
    })),
  }));

/** A number below 20 frees that pod, when it is there; anything else asks for the next one. */
const operations = fc.array(fc.oneof({ weight: 3, arbitrary: pod }, { weight: 1, arbitrary: fc.nat({ max: 9 }) }), {
  minLength: 1,
  maxLength: 14,
});

function plan(ledger: Ledger, id: string, { numa, containers }: PodAsk): PodHolding | undefined {
  const identity = { uid: podUid(id), namespace: 'default', name: id, numa };
  const made = planPod(ledger.room, identity, { basis: 'spec', containers });
  if (made.ok) return made.holding;
  assert.ok(made.reason.length > 0, 'a refusal says why');
  return undefined;
}

/** Runs the operations; after each, `check` sees the ledger and what was added. */
function run(
  ledger: Ledger,
  list: readonly (PodAsk | number)[],
  check: (added?: { readonly holding: PodHolding; readonly asked: PodAsk; readonly before: Room }) => void,
): void {
  list.forEach((operation, index) => {
    if (typeof operation === 'number') {
      ledger.delete(podUid(`p${operation}`));
      check();
      return;
    }
    const before = ledger.room.copy();
    const holding = plan(ledger, `p${index}`, operation);
    if (holding === undefined) assert.deepEqual(ledger.room.snapshot(), before.snapshot(), 'a refusal changes nothing');
    else ledger.set(holding);
    check(holding && { holding, asked: operation, before });
  });
}

function nodesOfCpus(machine: Machine, cpus: Iterable<number>): ReadonlySet<number> {
  return new Set([...cpus].map((cpu) => machine.nodeOf[machine.positions.get(cpu) ?? -1] ?? -1));
}

await t.test(
  'no CPU has two owners, reserved and isolated ones none, and the shared pool is never empty',
  async (t) => {
    const property = fc.property(randomHost, rules, operations, ({ topology, reserved }, rule, list) => {
      const ledger = new Ledger(buildMachine(topology, reserved), rule);
      run(ledger, list, () => {
        const owned = new Set<number>();
        for (const { cpus } of ledger.holdings()) {
          for (const cpu of cpus) {
            assert.ok(!owned.has(cpu), `CPU ${cpu} has two owners`);
            assert.ok(!reserved.has(cpu) && !topology.isolatedCpus.has(cpu) && topology.usableCpus.has(cpu));
            owned.add(cpu);
          }
        }
        const pool = ledger.pool();
        assert.ok(!pool.isEmpty);
        assert.ok([...pool].every((cpu) => !owned.has(cpu)));
        const sharable = topology.usableCpus.minus(topology.isolatedCpus);
        if (!sharable.isEmpty) assert.ok(reserved.intersect(sharable).isSubsetOf(pool), 'reserved CPUs stay shared');
        assert.equal(pool.size, ledger.room.poolSize);
      });
    });
    holds(t, 'ownership', property, RUNS);
  },
);

await t.test(
  'containers of a pod that run together have no CPU in common, and as many as they asked for',
  async (t) => {
    const property = fc.property(randomHost, rules, operations, ({ topology, reserved }, rule, list) => {
      const ledger = new Ledger(buildMachine(topology, reserved), rule);
      run(ledger, list, (added) => {
        if (added === undefined) return;
        const { holding, asked } = added;
        for (const container of asked.containers) {
          const held = holding.containers.get(container.name);
          assert.equal(held?.cpus.size ?? 0, container.need.exclusive);
          assert.ok((held?.cpus ?? holding.cpus).isSubsetOf(holding.cpus));
          for (const other of asked.containers) {
            const together = container.kind === other.kind ? container.kind !== 'init' : container.kind === 'sidecar';
            if (other === container || !together) continue;
            const theirs = holding.containers.get(other.name)?.cpus;
            assert.ok(held === undefined || theirs === undefined || !held.cpus.overlaps(theirs));
          }
        }
      });
    });
    holds(t, 'containers', property, RUNS);
  },
);

await t.test(
  'bound shared containers always have their CPUs, and no node promises more memory than it has',
  async (t) => {
    const property = fc.property(randomHost, rules, operations, ({ topology, reserved }, rule, list) => {
      const machine = buildMachine(topology, reserved);
      const ledger = new Ledger(machine, rule);
      run(ledger, list, () => {
        machine.nodes.forEach(({ id, memoryBytes }, position) => {
          let milli = 0;
          let memory = 0;
          let sharers = 0;
          for (const holding of ledger.holdings()) {
            for (const { shares } of [holding, ...holding.containers.values()]) {
              for (const share of shares.filter(({ node }) => node === id)) {
                milli += share.milli;
                memory += share.memory;
                sharers += share.shared && machine.nodes[position]?.hasCpus === true ? 1 : 0;
              }
            }
          }
          const pool = ledger.room.poolOn(position);
          assert.ok(pool * 1000 >= milli, `node ${id}: ${milli}m promised, ${pool} CPUs in the pool`);
          assert.ok(sharers === 0 || pool > 0, `node ${id}: shared containers and no pool`);
          if (!machine.memoryUnknown) assert.ok(memory <= Math.max(0, memoryBytes - rule.reservedMemory));
        });
      });
    });
    holds(t, 'promises', property, RUNS);
  },
);

await t.test('required comes from one node; and nothing crosses nodes that fits one', async (t) => {
  const property = fc.property(randomHost, rules, operations, ({ topology, reserved }, rule, list) => {
    const machine = buildMachine(topology, reserved);
    const ledger = new Ledger(machine, rule);
    run(ledger, list, (added) => {
      const [only, ...others] = added?.asked.containers ?? [];
      if (added === undefined || only === undefined) return;
      const { holding, asked, before } = added;
      if (asked.numa === 'required' && asked.containers.some(({ numaScope }) => numaScope === 'pod')) {
        assert.equal(holding.nodes.size, 1);
        const podWide = asked.containers.filter(({ numaScope }) => numaScope === 'pod');
        const cpus = podWide.flatMap(({ name }) => [...(holding.containers.get(name)?.cpus ?? [])]);
        assert.ok([...cpus].every((cpu) => topology.numaNodes.find(({ id }) => holding.nodes.has(id))?.cpus.has(cpu)));
      }
      if (others.length > 0 || only.need.exclusive === 0) return;
      const need: Need = only.numa === 'none' ? { ...only.need, memory: undefined, hugepages: new Map() } : only.need;
      const singleFits = machine.nodes.some((_, node) => fits(before, [node], need));
      assert.ok(!singleFits || nodesOfCpus(machine, holding.cpus).size === 1, 'one node would have had room');
    });
  });
  holds(t, 'nodes', property, RUNS);
});

await t.test('a placement on several nodes uses as few as any set of nodes could', async (t) => {
  const property = fc.property(randomHost, rules, operations, ({ topology, reserved }, rule, list) => {
    const machine = buildMachine(topology, reserved);
    const ledger = new Ledger(machine, rule);
    run(ledger, list, (added) => {
      const [only, ...others] = added?.asked.containers ?? [];
      if (added === undefined || only === undefined || others.length > 0 || only.numa === 'required') return;
      const { holding, before } = added;
      const bound = holding.containers.get('c0')?.nodes ?? holding.nodes;
      const used = bound.isEmpty ? nodesOfCpus(machine, holding.cpus).size : bound.size;
      if (used === 0) return;
      const full: Need = bound.isEmpty
        ? { ...only.need, memory: undefined, hugepages: new Map(), shared: false, milli: 0 }
        : only.need;
      let fewest = machine.nodes.length;
      for (let set = 1; set < 1 << machine.nodes.length; set += 1) {
        const nodes = machine.nodes.flatMap((_, node) => ((set & (1 << node)) === 0 ? [] : [node]));
        if (fits(before, nodes, full)) fewest = Math.min(fewest, nodes.length);
      }
      assert.equal(used, fewest);
    });
  });
  holds(t, 'fewest nodes', property, RUNS);
});

await t.test('freeing restores exactly what was there before', async (t) => {
  const property = fc.property(randomHost, rules, operations, pod, ({ topology, reserved }, rule, list, last) => {
    const ledger = new Ledger(buildMachine(topology, reserved), rule);
    run(ledger, list, () => {});
    const before = ledger.room.snapshot();
    const pool = ledger.pool().toString();
    const holding = plan(ledger, 'last', last);
    if (holding !== undefined) ledger.set(holding);
    ledger.delete(podUid('last'));
    assert.deepEqual(ledger.room.snapshot(), before);
    assert.equal(ledger.pool().toString(), pool);
  });
  holds(t, 'free', property, RUNS);
});

await t.test('the books are the same in whatever order holdings are entered', async (t) => {
  const property = fc.property(
    randomHost,
    rules,
    operations,
    fc.infiniteStream(fc.nat()),
    (host, rule, list, order) => {
      const machine = buildMachine(host.topology, host.reserved);
      const ledger = new Ledger(machine, rule);
      run(ledger, list, () => {});
      const shuffled = ledger
        .holdings()
        .map((holding) => ({ holding, at: order.next().value }))
        .sort((a, b) => a.at - b.at);
      const again = new Ledger(machine, rule);
      for (const { holding } of shuffled) again.set(holding);
      assert.deepEqual(again.room.snapshot(), ledger.room.snapshot());
      for (const [node] of machine.nodes.entries()) {
        assert.equal(again.room.memoryLeftOn(node), ledger.room.memoryLeftOn(node));
      }
    },
  );
  holds(t, 'order', property, RUNS);
});

await t.test('the same question gets the same answer', async (t) => {
  const property = fc.property(randomHost, rules, operations, pod, ({ topology, reserved }, rule, list, last) => {
    const ledger = new Ledger(buildMachine(topology, reserved), rule);
    run(ledger, list, () => {});
    assert.deepEqual(plan(ledger, 'last', last), plan(ledger, 'last', last));
  });
  holds(t, 'determinism', property, RUNS);
});
