// The answer to PlanPlacement: what a pod would get, with nothing reserved.
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { planPlacement } from '../../../agent/cpuset/plan-placement.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { PlanPlacementRequestSchema } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const ledger = new Ledger(buildMachine(evenHost(2, 4, 1, { memoryBytes: 4 * GIB, hugepages: 4 }), CpuSet.of(0)), {
  strategy: 'pack',
  unboundMemory: 'proportional',
  reservedMemory: 0,
});

function plan(request: MessageInitShape<typeof PlanPlacementRequestSchema>) {
  return planPlacement(ledger, create(PlanPlacementRequestSchema, request));
}

await t.test('a pod that fits', async (t) => {
  const before = ledger.room.snapshot();
  const answer = plan({
    numa: 'required',
    containers: [
      { name: 'db', cpuMillis: 2000n, memoryBytes: BigInt(GIB), cpuset: 'exclusive' },
      { cpuMillis: 500n, memoryBytes: BigInt(GIB) },
    ],
  });
  t.match(answer, {
    fits: true,
    numaNodes: '0',
    containers: [
      { name: 'db', cpuset: 'exclusive', cpus: '1-2', mems: '0' },
      { name: 'container-1', cpuset: 'shared', cpus: '0,3', mems: '0' },
    ],
  });
  t.strictSame(ledger.room.snapshot(), before, 'nothing was reserved');
  t.equal(ledger.holdings().length, 0);
});

await t.test('a pod that does not, and why', async (t) => {
  const pages = [{ pageSizeBytes: 2n << 20n, bytes: 1n << 30n }];
  t.match(plan({ numa: 'required', containers: [{ hugepages: pages }] }), {
    fits: false,
    nodeReasons: [{ node: 0, reason: /8 MiB of 1 GiB left in pages of 2 MiB/ }, { node: 1 }],
  });
  t.match(plan({ containers: [{ cpuMillis: 1500n, cpuset: 'exclusive' }] }), {
    fits: false,
    reason: /its CPU limit is 1.5/,
  });
});

await t.test('requests that cannot be read', async (t) => {
  for (const request of [
    { containers: [] },
    { containers: [{ name: 'a' }, { name: 'a' }] },
    { containers: [{ cpuset: 'mine' }] },
    { containers: [{ cpuset: 'exclusive' }], numa: 'maybe' },
    { containers: [{ memoryBytes: 1n << 60n }] },
    { containers: Array.from({ length: 1001 }, () => ({})) },
  ]) {
    t.throws(() => plan(request), { code: 'INVALID_REQUEST' });
  }
});
