// One container at a time: what it keeps, what it may use of its pod's, and what has to be found.
import assert from 'node:assert/strict';
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { planContainer } from '../../../agent/cpuset/plan-container.ts';
import type { ContainerAsk } from '../../../agent/cpuset/plan-need.ts';
import { emptyHolding, planPod } from '../../../agent/cpuset/plan-pod.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { NumaPolicy } from '../../../agent/model/policy.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const RULES = { strategy: 'pack', unboundMemory: 'proportional', reservedMemory: 0 } as const;
const UID = podUid('pod');

function ask(name: string, exclusive: number, more: Partial<ContainerAsk> = {}): ContainerAsk {
  return {
    name,
    kind: 'app',
    cpuset: exclusive > 0 ? 'exclusive' : 'shared',
    numa: 'none',
    numaScope: 'pod',
    need: { exclusive, milli: exclusive > 0 ? 0 : 500, shared: exclusive === 0, memory: GIB, hugepages: new Map() },
    ...more,
  };
}

function identity(numa: NumaPolicy) {
  return { uid: UID, namespace: 'ns', name: 'pod', numa };
}

/** Plans the container and enters it. */
function add(ledger: Ledger, wanted: ContainerAsk) {
  const held = ledger.get(UID);
  assert.ok(held);
  const plan = planContainer(ledger.room, held, wanted);
  if (plan.ok) ledger.set(plan.holding);
  return plan;
}

function cpusOf(ledger: Ledger, name: string): string {
  return ledger.seatOf(UID, name).cpus.toString();
}

await t.test('an attempt that follows another keeps its CPUs, whatever became free', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(1, 8, 1), CpuSet.EMPTY), RULES);
  const other = emptyHolding({ ...identity('none'), uid: podUid('other') }, { basis: 'containers' });
  ledger.set({ ...other, cpus: CpuSet.of(0, 1) });
  ledger.set(emptyHolding(identity('none'), { basis: 'containers' }));
  add(ledger, ask('a', 2));
  ledger.delete(podUid('other'));
  add(ledger, ask('a', 2));
  t.equal(cpusOf(ledger, 'a'), '2-3');
  add(ledger, ask('a', 3));
  t.equal(cpusOf(ledger, 'a'), '0-2', 'another number is planned anew');
  add(ledger, ask('a', 0));
  t.equal(cpusOf(ledger, 'a'), '0-7', 'and so is another mode');
});

await t.test('a container that grew takes what the pod has first', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 4, 1), CpuSet.EMPTY), RULES);
  const known = {
    basis: 'spec',
    containers: [ask('a', 1, { numa: 'required' }), ask('b', 1, { numa: 'required' })],
  } as const;
  const plan = planPod(ledger.room, identity('required'), known);
  assert.ok(plan.ok);
  ledger.set(plan.holding);
  t.equal(cpusOf(ledger, 'a'), '0');
  t.ok(add(ledger, ask('a', 3, { numa: 'required' })).ok);
  t.equal(cpusOf(ledger, 'a'), '0,2-3');
  const refused = add(ledger, ask('b', 2, { numa: 'required' }));
  t.match(refused, { ok: false, reason: /the NUMA node of its pod has no room: node 0: 0 of 1 CPU free/ });
  t.equal(cpusOf(ledger, 'b'), '1', 'nothing was lost');
});

await t.test('preferred: a container that does not fit beside its pod goes elsewhere', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 4, 1, { memoryBytes: 2 * GIB }), CpuSet.EMPTY), RULES);
  ledger.set(emptyHolding(identity('preferred'), { basis: 'containers' }));
  add(ledger, ask('a', 3, { numa: 'preferred' }));
  add(ledger, ask('b', 2, { numa: 'preferred' }));
  t.equal(cpusOf(ledger, 'a'), '0-2');
  t.equal(cpusOf(ledger, 'b'), '4-5');
  t.equal(ledger.seatOf(UID, 'b').nodes.toString(), '1');
  t.equal(ledger.get(UID)?.nodes.toString(), '0', 'the first decided for the pod');
});

await t.test('init containers leave their CPUs to the app containers, also when the kind is learnt late', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(1, 8, 1), CpuSet.EMPTY), RULES);
  ledger.set(emptyHolding(identity('none'), { basis: 'containers' }));
  add(ledger, ask('init', 4, { kind: 'init' }));
  add(ledger, ask('a', 2));
  add(ledger, ask('b', 3));
  t.equal(cpusOf(ledger, 'init'), '0-3');
  t.equal(cpusOf(ledger, 'a'), '0-1');
  t.equal(cpusOf(ledger, 'b'), '2-4');
  t.equal(ledger.get(UID)?.cpus.toString(), '0-4');
});

await t.test('an init container larger than the app containers keeps its CPUs for the pod', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 8, 1), CpuSet.EMPTY), RULES);
  const known = {
    basis: 'spec',
    containers: [ask('init', 5, { kind: 'init' }), ask('side', 1, { kind: 'sidecar' }), ask('app', 2)],
  } as const;
  const plan = planPod(ledger.room, identity('none'), known);
  assert.ok(plan.ok);
  ledger.set(plan.holding);
  const cpus = (name: string): CpuSet => ledger.seatOf(UID, name).cpus;
  t.notOk(cpus('init').overlaps(cpus('side')));
  t.ok(cpus('app').isSubsetOf(cpus('init')));
  t.equal(ledger.get(UID)?.cpus.size, 6);
});

await t.test('a container whose scope is its own is not drawn to the nodes of its pod', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 4, 1), CpuSet.EMPTY), RULES);
  const alone = { numa: 'none', numaScope: 'container' } as const;
  const known = {
    basis: 'spec',
    containers: [ask('a', 1, { numa: 'required' }), ask('free', 0, alone), ask('owner', 4, alone)],
  } as const;
  const plan = planPod(ledger.room, identity('required'), known);
  assert.ok(plan.ok);
  ledger.set(plan.holding);
  for (const container of known.containers) t.ok(add(ledger, container).ok, container.name);
  t.equal(cpusOf(ledger, 'owner'), '4-7');
  t.equal(cpusOf(ledger, 'free'), '1-3');
  t.equal(ledger.seatOf(UID, 'free').nodes.toString(), '');
  t.equal(ledger.seatOf(UID, 'a').nodes.toString(), '0');
});

await t.test('the same question twice changes nothing', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 4, 2), CpuSet.EMPTY), RULES);
  ledger.set(emptyHolding(identity('required'), { basis: 'containers' }));
  for (const wanted of [ask('a', 3, { numa: 'required' }), ask('b', 0, { numa: 'required' }), ask('c', 1)]) {
    add(ledger, wanted);
    const before = ledger.get(UID);
    add(ledger, wanted);
    t.equal(ledger.get(UID), before, wanted.name);
  }
});
