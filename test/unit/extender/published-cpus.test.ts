// What another machine says of its CPUs is bounded before it is written out.
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { Machines } from '../../../extender/planning/machines.ts';
import { planHost } from '../../../extender/planning/plan-host.ts';
import { readNodeCpus } from '../../../extender/planning/published-cpus.ts';
import {
  HostTopologySchema,
  ListAllocationsResponseSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';
import { publish } from '../../support/published-host.ts';
import { PLAN_RULES } from '../../support/topology-agent.ts';

const LISTS = ['cpus', 'allocatableCpus', 'freeCpus', 'sharedCpus'] as const;
const HUGE = '0-1048575';

function published(cpus: number, nodes: readonly Partial<Record<(typeof LISTS)[number], string>>[]) {
  return create(HostTopologySchema, {
    version: 1n,
    cpus: Array.from({ length: cpus }, (_, id) => ({ id, online: true })),
    numaNodes: nodes.map((node, id) => ({ id, ...node })),
  });
}

await t.test('a range of a few bytes is not written out to a million CPUs', async (t) => {
  const everywhere = Object.fromEntries(LISTS.map((list) => [list, HUGE]));
  const topology = published(
    4,
    Array.from({ length: 5 }, () => everywhere),
  );
  const allocations = create(ListAllocationsResponseSchema, { version: 1n });
  t.throws(() => planHost(topology, allocations, new Machines(), PLAN_RULES), { code: 'INVALID_REQUEST' });
  for (const list of LISTS) t.throws(() => readNodeCpus(published(4, [{ [list]: HUGE }])), /is not a CPU list/, list);
});

await t.test('the same range again and again is not written out either', async (t) => {
  const again = Array.from({ length: 1000 }, () => '0-8191').join();
  t.throws(() => readNodeCpus(published(8192, [{ cpus: again }])), /"0-8191,0-8191.*…" is not a CPU list/);
  const many = Array.from({ length: 1024 }, () => ({ cpus: '0-8191' }));
  t.throws(() => readNodeCpus(published(8192, many)), /list more than 262144 CPUs/);
});

await t.test('more CPUs or nodes than any kernel has are refused before a list is read', async (t) => {
  t.throws(() => readNodeCpus(published(8193, [{ cpus: HUGE }])), /at most 8192 CPUs and 1024 NUMA nodes/);
  const many = Array.from({ length: 1025 }, () => ({ cpus: HUGE }));
  t.throws(() => readNodeCpus(published(1, many)), /at most 8192 CPUs and 1024 NUMA nodes/);
});

await t.test('a CPU of a NUMA node is one of those of the host', async (t) => {
  for (const list of LISTS) {
    t.throws(() => readNodeCpus(published(4, [{ [list]: '0-4' }])), /CPU 4 is on a NUMA node, but not among/, list);
  }
});

await t.test('the largest host that a kernel runs on is read whole', async (t) => {
  const ledger = new Ledger(buildMachine(evenHost(16, 256, 2), CpuSet.of(0)), PLAN_RULES);
  const { topology, allocations } = publish(ledger);
  const { room } = planHost(topology, allocations, new Machines(), PLAN_RULES);
  t.same(room.snapshot(), ledger.room.snapshot());
  t.equal(room.machine.cpuIds.length, 8192);
});
