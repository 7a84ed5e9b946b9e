// The answer to PlanPlacement: what a pod would get, with nothing reserved.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { Ledger } from '../../../agent/cpuset/ledger.ts';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { type DecidePolicy, planPlacement } from '../../../agent/cpuset/plan-placement.ts';
import { type PolicyRules, planPolicy } from '../../../agent/lifecycle/plan-policy.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { PlanPlacementRequestSchema } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { cgroupFiles } from '../../support/cgroup-files.ts';
import { CpusetNode, makeNeed } from '../../support/cpuset-node.ts';
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
  t.match(plan({ numa: 'required', containers: [{ memoryBytes: 1n, hugepages: pages }] }), {
    fits: false,
    nodeReasons: [{ node: 0, reason: /8 MiB of 1 GiB left in pages of 2 MiB/ }, { node: 1 }],
  });
  t.match(plan({ containers: [{ cpuMillis: 1500n, cpuset: 'exclusive' }] }), {
    fits: false,
    reason: /its CPU limit is 1.5/,
  });
});

await t.test('a container whose memory need nobody said is not bound to memory, as in a creation', async (t) => {
  t.match(plan({ numa: 'required', containers: [{ cpuMillis: 1000n, cpuset: 'exclusive' }] }), {
    fits: true,
    reason: /its memory need is not known/,
    containers: [{ cpus: '1', mems: '' }],
  });
});

await t.test("the namespace's defaults and denials hold", async (t) => {
  const rules: PolicyRules = {
    onDenied: 'refuse',
    defaults: {},
    turnedOff: [],
    namespaces: new Map([
      ['databases', { defaults: { cpuset: 'exclusive', numa: 'required' }, deny: [] }],
      ['batch', { defaults: {}, deny: ['required'] }],
    ]),
  };
  const decide: DecidePolicy = (namespace, annotations) => planPolicy(namespace, annotations, rules).policy;
  const planIn = (request: MessageInitShape<typeof PlanPlacementRequestSchema>) =>
    planPlacement(ledger, create(PlanPlacementRequestSchema, request), decide);
  const containers = [{ cpuMillis: 1000n, memoryBytes: 1n }];
  t.match(planIn({ namespace: 'databases', containers }), {
    numaNodes: '0',
    containers: [{ cpuset: 'exclusive', cpus: '1' }],
  });
  t.match(planIn({ namespace: 'databases', numa: 'none', containers: [{ cpuMillis: 1000n, cpuset: 'shared' }] }), {
    numaNodes: '',
    containers: [{ cpuset: 'shared' }],
  });
  t.match(planIn({ namespace: 'batch', numa: 'required', containers }), {
    fits: false,
    reason: /namespace batch may not have numa "required"/,
  });
});

const LONG = 'x'.repeat(1024 * 1024);
const ONE = [{ cpuMillis: 1n }];

const UNREADABLE: readonly (readonly [MessageInitShape<typeof PlanPlacementRequestSchema>, RegExp])[] = [
  [{ containers: [] }, /^containers: 1 to 1000, not 0$/],
  [{ containers: [{ name: 'a' }, { name: 'a' }] }, /a name of its own/],
  [{ containers: [{ cpuset: 'mine' }] }, /^cpuset is "mine"; use one of shared, exclusive$/],
  [{ containers: ONE, numa: 'maybe' }, /^numa is "maybe"; use one of none, preferred, required$/],
  [{ containers: [{ memoryBytes: 1n << 60n }] }, /^memory_bytes is 1152921504606846976; .* below 2\^53$/],
  [
    { containers: [{ cpuMillis: (1n << 64n) - 1n }] },
    /^cpu_millis is 18446744073709551615 \(a negative number is none\)/,
  ],
  [{ containers: [{ memoryBytes: 1n << 52n }, { memoryBytes: 1n << 52n }] }, /all containers together/],
  [{ containers: [{ hugepages: [{ pageSizeBytes: 0n, bytes: 1n }] }] }, /none of them 0/],
  [{ containers: [{ hugepages: [{ pageSizeBytes: 1n }, { pageSizeBytes: 1n }] }] }, /each once/],
  [
    { containers: [{ hugepages: Array.from({ length: 17 }, (_, i) => ({ pageSizeBytes: BigInt(i + 1) })) }] },
    /up to 16/,
  ],
  [{ containers: Array.from({ length: 1001 }, () => ({})) }, /not 1001$/],
  [{ containers: ONE, namespace: LONG }, /^namespace is "x{60}…"/],
  [{ containers: ONE, namespace: '../a' }, /^namespace is "\.\.\/a"/],
  [{ containers: [{ name: LONG }] }, /^the name of a container is "x{60}…"/],
  [{ containers: [{ name: 'a\nb' }] }, /is "a\\nb"/],
  [{ containers: [{ cpuset: LONG }] }, /^cpuset is "x{60}…"/],
  [{ containers: ONE, numa: LONG }, /^numa is "x{60}…"/],
];

await t.test('requests that cannot be read', async (t) => {
  for (const [request, problem] of UNREADABLE) {
    t.throws(() => plan(request), { code: 'INVALID_REQUEST', message: problem }, String(problem));
  }
});

interface Wish {
  readonly numa: 'none' | 'preferred' | 'required';
  readonly containers: readonly { readonly cpus: number; readonly memory: number; readonly exclusive: boolean }[];
}

const wish: fc.Arbitrary<Wish> = fc.record({
  numa: fc.constantFrom('none', 'preferred', 'required'),
  containers: fc.array(
    fc.record({
      cpus: fc.constantFrom(1, 2, 3, 1.5),
      memory: fc.constantFrom(0, GIB, 3 * GIB),
      exclusive: fc.boolean(),
    }),
    { minLength: 1, maxLength: 3 },
  ),
});

await t.test('what it answers is what a creation then gets', async (t) => {
  const folder = t.testdir();
  let run = 0;
  const property = fc.asyncProperty(
    fc.array(fc.tuple(wish, fc.boolean()), { minLength: 1, maxLength: 8 }),
    async (wishes) => {
      run += 1;
      const topology = evenHost(2, 2, 2, { memoryBytes: 4 * GIB });
      const host = cgroupFiles(join(folder, String(run)), 2);
      const node = new CpusetNode({ host, topology, reservedCpus: CpuSet.of(0) });
      await node.start();
      try {
        for (const [index, [{ numa, containers }, endsFirst]] of wishes.entries()) {
          if (endsFirst && index > 0) await node.endPod(`p${index - 1}`);
          const named = containers.map((each, position) => ({ ...each, name: `c${position}` }));
          const answer = node.feature.planPlacement(
            create(PlanPlacementRequestSchema, {
              numa,
              containers: named.map(({ name, cpus, memory, exclusive }) => ({
                name,
                cpuMillis: BigInt(cpus * 1000),
                memoryBytes: BigInt(memory),
                cpuset: exclusive ? 'exclusive' : 'shared',
              })),
            }),
          );
          const uid = `p${index}`;
          const needOf = (memory: number, cpus: number) => makeNeed(cpus, memory === 0 ? undefined : memory);
          const created = node.runPod({
            uid,
            policy: { numa },
            containers: Object.fromEntries(
              named.map(({ name, exclusive }) => [name, { cpuset: exclusive ? 'exclusive' : 'shared' }]),
            ),
            spec: named.map(({ name, cpus, memory }) => ({ name, kind: 'app', ...needOf(memory, cpus) })),
          });
          if (answer.fits !== true) {
            await assert.rejects(created, (error: Error) => error.message.includes(answer.reason ?? '-'));
            continue;
          }
          await created;
          for (const { name, cpus, memory } of named) await node.run(uid, name, needOf(memory, cpus));
          const pod = node.feature.allocations().pods?.find((each) => each.uid === uid);
          assert.equal(pod?.numaNodes, answer.numaNodes);
          const byName = (list: typeof answer.containers) =>
            (list ?? []).map((each) => [each.name, each.cpuset, each.cpus, each.mems].join(' ')).toSorted();
          assert.deepEqual(byName(pod?.containers), byName(answer.containers));
        }
      } finally {
        await node.feature.close();
      }
    },
  );
  await fc.assert(property, { numRuns: 60 });
});
