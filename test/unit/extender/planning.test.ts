// What the extender says of a node is what the node's own planner would say, whatever the node has been through.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { planPod } from '../../../agent/cpuset/plan-pod.ts';
import type { PlanRules, Room } from '../../../agent/cpuset/room.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { PodFacts } from '../../../agent/model/pod.ts';
import { Machines } from '../../../extender/planning/machines.ts';
import { isImpossible, type PodAsk, planAsk } from '../../../extender/planning/plan-ask.ts';
import { besideOthers, fitsAfter, fitsBeside, planFit, takePlace } from '../../../extender/planning/plan-fit.ts';
import { planHost } from '../../../extender/planning/plan-host.ts';
import { planScore } from '../../../extender/planning/plan-score.ts';
import { evenHost, GIB, type RandomHost, randomHost } from '../../support/hand-made-hosts.ts';
import { holds } from '../../support/properties.ts';
import { NO_POLICY_RULES, publish } from '../../support/published-host.ts';
import { exclusivePod, named, randomPod } from '../../support/random-pods.ts';

const RUNS = 150;

const rules: fc.Arbitrary<PlanRules> = fc.record({
  strategy: fc.constantFrom('spread' as const, 'pack' as const),
  unboundMemory: fc.constantFrom('proportional' as const, 'ignore' as const),
  reservedMemory: fc.constantFrom(0, GIB / 2),
});

/** The kernel lets the agent use the memory of every node: that it may not is the one thing that is not published. */
const host: fc.Arbitrary<RandomHost> = randomHost.map(({ topology, reserved }) => ({
  topology: { ...topology, usableMems: CpuSet.from(topology.numaNodes.map(({ id }) => id)) },
  reserved,
}));

function askOf(facts: PodFacts): PodAsk {
  const ask = planAsk(facts, NO_POLICY_RULES);
  assert.ok(!isImpossible(ask));
  return ask;
}

/** Pods come, and those with a number below 8 go again. */
const history = fc.array(fc.oneof({ weight: 3, arbitrary: randomPod }, { weight: 1, arbitrary: fc.nat({ max: 8 }) }), {
  maxLength: 10,
});

function live(ledger: Ledger, events: readonly (Omit<PodFacts, 'uid' | 'name'> | number)[]): void {
  events.forEach((event, index) => {
    if (typeof event === 'number') ledger.delete(podUid(`uid-p${event}`));
    else {
      const { identity, need } = askOf(named(event, `p${index}`));
      const plan = planPod(ledger.room, identity, need);
      if (plan.ok) ledger.set(plan.holding);
    }
  });
}

await t.test('the extender answers as the planner of the node does', async (t) => {
  let fitting = 0;
  let refused = 0;
  const property = fc.property(
    host,
    rules,
    history,
    fc.array(randomPod, { minLength: 1, maxLength: 4 }),
    (...given) => {
      const [{ topology, reserved }, rule, events, pods] = given;
      const ledger = new Ledger(buildMachine(topology, reserved), rule);
      live(ledger, events);
      const { topology: message, allocations } = publish(ledger);
      const { room, pods: known } = planHost(message, allocations, new Machines(), rule);
      assert.deepEqual(
        [...known].sort(),
        ledger
          .holdings()
          .map(({ uid }) => uid as string)
          .sort(),
      );
      pods.forEach((pod, index) => {
        const ask = askOf(named(pod, `new-${index}`));
        const own = planPod(ledger.room, ask.identity, ask.need);
        const answer = planFit(room, ask);
        assert.equal(answer === undefined, own.ok, `${answer} against ${own.ok ? 'it fits' : own.reason}`);
        if (own.ok) fitting += 1;
        else refused += 1;
        // Isolated CPUs are not published: a node of nothing else is then one without CPUs.
        if (!own.ok && topology.isolatedCpus.isEmpty) assert.equal(answer, own.reason);
      });
    },
  );
  holds(t, 'the same answer', property, RUNS);
  t.ok(fitting > RUNS / 10 && refused > RUNS / 10, `both answers came up: ${fitting} fitted, ${refused} did not`);
});

/** Every order of every subset, the empty one included. */
function* sequences<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  yield [];
  for (const item of items) for (const rest of sequences(items.filter((each) => each !== item))) yield [item, ...rest];
}

/** Whether the pod is given its place once these have come, each where the node puts it, or refused. */
function fitsOnceCame(room: Room, came: readonly PodAsk[], last: PodAsk): boolean {
  const left = room.copy();
  for (const pod of came) takePlace(left, pod);
  return planFit(left, last) === undefined;
}

await t.test('a pod that passes beside others fits whichever come first, and pushes none of them out', async (t) => {
  const passed = { counted: 0, planned: 0 };
  const few = fc.array(randomPod, { minLength: 1, maxLength: 3 });
  const some = fc
    .record({ nodes: fc.integer({ min: 1, max: 5 }), cores: fc.integer({ min: 3, max: 9 }) })
    .map(({ nodes, cores }) => evenHost(nodes, cores, 2, { memoryBytes: 8 * GIB, hugepages: 16 }));
  const property = fc.property(some, rules, history, few, randomPod, (...given) => {
    const [topology, rule, events, pods, last] = given;
    const ledger = new Ledger(buildMachine(topology, CpuSet.of(0)), rule);
    live(ledger, events);
    const { room } = ledger;
    const others = pods.map((pod, index) => askOf(named(pod, `other-${index}`)));
    const ask = askOf(named(last, 'last'));
    const all = besideOthers(ask, others);
    const counted = ask.identity.numa === 'required' && all !== undefined && fitsBeside(room, all);
    if (planFit(room, ask) !== undefined || (!counted && !fitsAfter(room, ask, others))) return;
    passed[counted ? 'counted' : 'planned'] += 1;
    for (const came of sequences(others)) {
      assert.ok(fitsOnceCame(room, came, ask), 'the pod fits');
      for (const other of others.filter((each) => !came.includes(each) && fitsOnceCame(room, came, each))) {
        for (let before = 0; before <= came.length; before += 1) {
          assert.ok(fitsOnceCame(room, came.toSpliced(before, 0, ask), other), 'and the others fit as before');
        }
      }
    }
  });
  holds(t, 'no subset and no order makes it wrong', property, RUNS * 3);
  t.ok(passed.counted > 5 && passed.planned > 5, `both ways: ${JSON.stringify(passed)}`);
});

await t.test('beside more than three others only counting lets a pod pass', async (t) => {
  let passed = 0;
  const many = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 4, maxLength: 6 });
  const used = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 8 });
  const property = fc.property(fc.integer({ min: 2, max: 9 }), many, used, rules, (nodes, sizes, taken, rule) => {
    const ledger = new Ledger(buildMachine(evenHost(nodes, 6, 1), CpuSet.of(0)), rule);
    taken.forEach((cpus, index) => void takePlace(ledger.room, exclusivePod(`held-${index}`, cpus)));
    const others = sizes.map((cpus, index) => exclusivePod(`other-${index}`, cpus));
    const ask = exclusivePod('last', 3);
    if (!fitsAfter(ledger.room, ask, others)) return;
    passed += 1;
    for (const order of [others, others.toReversed(), others.toSorted((a, b) => a.most.exclusive - b.most.exclusive)]) {
      for (let from = 0; from < order.length; from += 1) {
        assert.ok(fitsOnceCame(ledger.room, order.slice(from), ask), 'the pod fits');
        const [first = ask, ...later] = order.slice(from);
        assert.ok(fitsOnceCame(ledger.room, [ask, ...later], first), 'and so does each of the others');
      }
    }
  });
  holds(t, 'a pass holds', property, RUNS);
  t.ok(passed > 5, `it came up ${passed} times`);
});

const roomOf = (strategy: 'pack' | 'spread') => {
  const rule = { strategy, unboundMemory: 'proportional', reservedMemory: 0 } as const;
  const ledger = new Ledger(buildMachine(evenHost(2, 4, 1), CpuSet.of(0)), rule);
  const { topology, allocations } = publish(ledger);
  return planHost(topology, allocations, new Machines(), rule).room;
};

await t.test('a pod passes beside one that may come later only where it leaves that one its place', async (t) => {
  const large = exclusivePod('large', 4);
  const small = exclusivePod('small', 3);
  t.equal(fitsAfter(roomOf('pack'), small, [large]), true, 'node 1 for the large one, node 0 for this');
  t.equal(fitsAfter(roomOf('spread'), small, [large]), false, 'it would take node 1 if it came first');
});

await t.test('of two that may be going to a node, one that fits only without the other makes it unsafe', async (t) => {
  const rivals = [exclusivePod('large', 4), exclusivePod('rival', 4)];
  t.equal(fitsAfter(roomOf('pack'), exclusivePod('b', 2), rivals), false, 'nobody knows which of them it is');
  const hopeless = [exclusivePod('large', 4), exclusivePod('huge', 6)];
  t.equal(fitsAfter(roomOf('pack'), exclusivePod('b', 2), hopeless), true, 'the huge one is refused in any case');
});

await t.test('pack ranks the fuller host higher, spread the emptier one', async (t) => {
  const ask = exclusivePod('a', 2);
  for (const [strategy, sign] of [
    ['pack', 1],
    ['spread', -1],
  ] as const) {
    const empty = roomOf(strategy);
    const full = roomOf(strategy);
    takePlace(full, exclusivePod('b', 2, 40 * GIB));
    takePlace(full, exclusivePod('c', 2, 20 * GIB));
    const difference = planScore(full, ask) - planScore(empty, ask);
    t.ok(difference * sign > 0, `${strategy}: ${planScore(full, ask)} and ${planScore(empty, ask)}`);
  }
  const none = roomOf('pack');
  t.equal(planScore(none, exclusivePod('a', 5)), 0, 'where it does not fit');
});

await t.test('hosts of one model share what depends on the processors, not their memory', async (t) => {
  const machines = new Machines();
  const rule = { strategy: 'pack', unboundMemory: 'proportional', reservedMemory: 0 } as const;
  const made = [32, 64].map((gib) => {
    const ledger = new Ledger(buildMachine(evenHost(2, 4, 1, { memoryBytes: gib * GIB }), CpuSet.EMPTY), rule);
    if (gib === 64) takePlace(ledger.room, exclusivePod('a', 2));
    const { topology, allocations } = publish(ledger);
    return planHost(topology, allocations, machines, rule).room.machine;
  });
  t.equal(machines.size, 1);
  t.equal(made[0]?.cores, made[1]?.cores);
  t.same(
    made.map((machine) => machine.memoryBytes),
    [64 * GIB, 128 * GIB],
  );
});
