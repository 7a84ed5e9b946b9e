// Where groups of containers go: strategies, refusals and their words.
import t from 'tap';
import type { PodHolding } from '../../../agent/cpuset/holding.ts';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { type Need, NO_NEED } from '../../../agent/cpuset/plan-need.ts';
import { type Placed, place } from '../../../agent/cpuset/plan-place.ts';
import { emptyHolding } from '../../../agent/cpuset/plan-pod.ts';
import type { PlanRules } from '../../../agent/cpuset/room.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { type PodUid, podUid } from '../../../agent/model/ids.ts';
import type { NumaPolicy } from '../../../agent/model/policy.ts';
import { evenHost, GIB, makeHost } from '../../support/hand-made-hosts.ts';

const RULES: PlanRules = { strategy: 'pack', unboundMemory: 'proportional', reservedMemory: 0 };

function need(more: Partial<Need>): Need {
  return { ...NO_NEED, memory: 0, ...more };
}

function hold(ledger: Ledger, id: string, wanted: Need, numa: NumaPolicy): Placed {
  const placed = place(ledger.room, wanted, numa);
  if (!placed.ok) throw new Error(placed.reason);
  const uid: PodUid = podUid(id);
  const holding: PodHolding = {
    ...emptyHolding({ uid, namespace: 'ns', name: id, numa }, { basis: 'containers' }),
    ...placed,
  };
  ledger.set(holding);
  return placed;
}

const reasonOf = (placed: ReturnType<typeof place>): string => (placed.ok ? 'placed' : placed.reason);

await t.test('pack fills a node that is in use, spread takes the emptiest', async (t) => {
  const machine = buildMachine(evenHost(2, 4, 1), CpuSet.EMPTY);
  const pack = new Ledger(machine, RULES);
  const spread = new Ledger(machine, { ...RULES, strategy: 'spread' });
  for (const ledger of [pack, spread]) hold(ledger, 'a', need({ exclusive: 1 }), 'required');
  t.equal(hold(pack, 'b', need({ exclusive: 1 }), 'required').cpus.toString(), '1');
  t.equal(hold(spread, 'b', need({ exclusive: 1 }), 'required').cpus.toString(), '4');
  t.equal(hold(pack, 'c', need({ exclusive: 3 }), 'required').cpus.toString(), '4-6', 'the least that fits');
});

await t.test('strategies look at the memory when no CPUs are asked for', async (t) => {
  const machine = buildMachine(
    makeHost({
      nodes: [
        { id: 0, cores: [1, 1], memoryBytes: 8 * GIB },
        { id: 1, cores: [1, 1], memoryBytes: 4 * GIB },
      ],
    }),
    CpuSet.EMPTY,
  );
  const wanted = need({ shared: true, memory: GIB });
  t.equal(hold(new Ledger(machine, RULES), 'a', wanted, 'required').nodes.toString(), '1');
  t.equal(hold(new Ledger(machine, { ...RULES, strategy: 'spread' }), 'a', wanted, 'required').nodes.toString(), '0');
});

await t.test('whole cores decide before the strategy does', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 2, 2), CpuSet.of(0, 2)), RULES);
  t.equal(hold(ledger, 'a', need({ exclusive: 2 }), 'required').cpus.toString(), '4-5', 'node 0 has split cores only');
});

await t.test('required is refused with what each node lacks', async (t) => {
  const ledger = new Ledger(
    buildMachine(
      makeHost({
        nodes: [
          { id: 0, cores: [1, 1, 1, 1], memoryBytes: 64 * GIB },
          { id: 2, cores: [1, 1, 1, 1, 1, 1], memoryBytes: 1.2 * GIB },
          { id: 5, cores: [], memoryBytes: 64 * GIB },
          { id: 6, cores: [1, 1, 1, 1, 1, 1], memoryBytes: 0 },
        ],
      }),
      CpuSet.of(0, 1),
    ),
    RULES,
  );
  t.equal(
    reasonOf(place(ledger.room, need({ exclusive: 4, memory: 4 * GIB }), 'required')),
    '4 exclusive CPUs and 4 GiB of memory must come from one NUMA node (numa: required), and no NUMA node has room: ' +
      'node 0: 2 of 4 CPUs free; node 2: 1.2 GiB of 4 GiB memory left; node 5: has no CPUs; node 6: has no memory',
  );
});

await t.test('a pool keeps what its bound shared containers request', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(2, 4, 1), CpuSet.EMPTY), RULES);
  hold(ledger, 'shared', need({ shared: true, milli: 1500 }), 'required');
  t.match(
    reasonOf(place(ledger.room, need({ exclusive: 3 }), 'required', [0])),
    /node 0: 4 CPUs free, but its shared pool needs 2 CPUs of them/,
  );
  t.equal(hold(ledger, 'two', need({ exclusive: 2 }), 'required').cpus.toString(), '0-1');
  t.equal(ledger.pool(CpuSet.of(0)).toString(), '2-3');
  t.match(
    reasonOf(place(ledger.room, need({ shared: true, milli: 600 }), 'required', [0])),
    /node 0: 0.5 of 0.6 CPUs left in its shared pool/,
  );
});

await t.test('one CPU of the host always stays for shared containers', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(1, 2, 1), CpuSet.EMPTY), RULES);
  for (const numa of ['none', 'preferred', 'required'] as const) {
    t.notOk(place(ledger.room, need({ exclusive: 2 }), numa).ok, numa);
  }
  t.match(
    reasonOf(place(ledger.room, need({ exclusive: 2 }), 'none')),
    '2 exclusive CPUs cannot be had, 2 are free, of which 1 must stay for shared containers',
  );
  t.equal(hold(ledger, 'one', need({ exclusive: 1 }), 'none').cpus.toString(), '0');
  t.equal(ledger.pool().toString(), '1');
});

await t.test('preferred: the nearest nodes when none fits alone, and none with a note when nothing fits', async (t) => {
  const host = makeHost({
    nodes: [0, 1, 2, 3].map((id) => ({ id, cores: [1, 1, 1, 1], memoryBytes: 4 * GIB })),
    // 1 and 3 are neighbours; all others are far.
    distance: (from, to) => (from === to ? 10 : from + to === 4 && from !== 2 ? 12 : 30),
  });
  const ledger = new Ledger(buildMachine(host, CpuSet.EMPTY), RULES);
  const two = place(ledger.room, need({ exclusive: 6, memory: 6 * GIB }), 'preferred');
  t.match(two, { ok: true, nodes: CpuSet.of(1, 3), shares: [{ memory: 4 * GIB }, { memory: 2 * GIB }] });
  t.match(place(ledger.room, need({ exclusive: 6 }), 'required'), { ok: false });
  const none = place(ledger.room, need({ exclusive: 2, memory: 20 * GIB }), 'preferred');
  t.match(none, { ok: true, nodes: CpuSet.EMPTY, unboundMemory: 20 * GIB, note: /fits no NUMA nodes together/ });
  t.match(place(ledger.room, need({ exclusive: 16 }), 'preferred'), { ok: false });
});

await t.test('memory of unbound pods counts by the size of the nodes, or not at all', async (t) => {
  const machine = buildMachine(
    makeHost({
      nodes: [
        { id: 0, cores: [1, 1], memoryBytes: 30 * GIB },
        { id: 1, cores: [], memoryBytes: 10 * GIB },
      ],
    }),
    CpuSet.EMPTY,
  );
  const proportional = new Ledger(machine, RULES);
  const ignoring = new Ledger(machine, { ...RULES, unboundMemory: 'ignore', reservedMemory: GIB });
  for (const ledger of [proportional, ignoring]) hold(ledger, 'a', need({ shared: true, memory: 8 * GIB }), 'none');
  t.equal(proportional.room.memoryLeftOn(0), 24 * GIB);
  t.equal(proportional.room.memoryLeftOn(1), 8 * GIB);
  t.equal(ignoring.room.memoryLeftOn(0), 29 * GIB);
});

await t.test('hugepages are promised like memory', async (t) => {
  const host = makeHost({
    nodes: [
      { id: 0, cores: [1, 1], hugepages: 4 },
      { id: 1, cores: [1, 1], hugepages: 8 },
    ],
  });
  const ledger = new Ledger(buildMachine(host, CpuSet.EMPTY), RULES);
  const pages = (count: number): Need =>
    need({ shared: true, hugepages: new Map([[2 * 1024 ** 2, count * 2 * 1024 ** 2]]) });
  t.equal(hold(ledger, 'a', pages(6), 'required').nodes.toString(), '1');
  t.match(
    reasonOf(place(ledger.room, pages(6), 'required')),
    /node 0: 8 MiB of 12 MiB left in pages of 2 MiB; node 1: 4 MiB of 12 MiB left in pages of 2 MiB/,
  );
});

await t.test('hugepages of a node whose memory is not to be handed out are promised to nobody', async (t) => {
  const host = evenHost(2, 2, 1, { hugepages: 8 });
  const ledger = new Ledger(buildMachine({ ...host, usableMems: CpuSet.of(1) }, CpuSet.EMPTY), RULES);
  const size = 2 * 1024 ** 2;
  t.equal(ledger.room.hugepagesLeftOn(0, size), 0);
  const wanted = need({ shared: true, hugepages: new Map([[size, 8 * size]]) });
  t.equal(hold(ledger, 'a', wanted, 'required').nodes.toString(), '1');
  t.match(reasonOf(place(ledger.room, wanted, 'required')), /node 0: .*; node 1: /);
});

await t.test('where no node says how much memory it has, memory is not counted', async (t) => {
  const machine = buildMachine(
    {
      ...makeHost({ nodes: [{ id: 0, cores: [1, 1], memoryBytes: 0 }] }),
      usableMems: CpuSet.of(0),
    },
    CpuSet.EMPTY,
  );
  const placed = place(new Ledger(machine, RULES).room, need({ exclusive: 1, memory: GIB }), 'required');
  t.match(placed, { ok: true, nodes: CpuSet.of(0) });
});

await t.test('many nodes: the search stays bounded', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(32, 2, 1), CpuSet.EMPTY), RULES);
  const placed = hold(ledger, 'a', need({ exclusive: 40 }), 'preferred');
  t.equal(placed.nodes.size, 20);
  t.equal(placed.cpus.size, 40);
});
