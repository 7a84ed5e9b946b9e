// The planner on the topologies of real machines: whatever comes and goes, the rules hold.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { parseTraceLine, startTrace, type TraceOperation } from '../../../agent/cpuset/plan-trace.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../../agent/model/host-topology.ts';
import { readHostTopology } from '../../../agent/topology/read-topology.ts';
import { holds } from '../../support/properties.ts';

const RUNS = 40;
const folder = process.env['HOLDFAST_TEST_DATA'] ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
const archives = (await readdir(join(folder, 'topologies')).catch((): string[] => [])).filter((name) =>
  name.endsWith('.tar.bz2'),
);

const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('alloc'),
      cpus: fc.integer({ min: 1, max: 10 }),
      memoryBytes: fc.constantFrom(0, 2 ** 28, 2 ** 31),
      cpuset: fc.constantFrom('shared', 'exclusive'),
      numa: fc.constantFrom('none', 'preferred', 'required'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('free'), of: fc.nat({ max: 20 }) }) },
);

function nodesOf(topology: HostTopology, cpus: CpuSet): number {
  return topology.numaNodes.filter((node) => node.cpus.overlaps(cpus)).length;
}

function checkRun(topology: HostTopology, strategy: 'spread' | 'pack', operations: readonly TraceOperation[]): void {
  const reserved = CpuSet.from([...topology.usableCpus].slice(0, 1));
  const run = startTrace(topology, reserved, { strategy, unboundMemory: 'proportional', reservedMemory: 0 });
  const owned = new Map<string, CpuSet>();
  for (const each of operations) {
    const result = run(each);
    if (each.op === 'free') owned.delete(each.id);
    if (!result.ok || result.op !== 'alloc' || each.op !== 'alloc') continue;
    const cpus = CpuSet.parse(result.cpus);
    if (cpus.isEmpty || !cpus.isSubsetOf(topology.usableCpus)) throw new Error(`${each.id} runs on "${result.cpus}"`);
    for (const [id, theirs] of owned) if (theirs.overlaps(cpus)) throw new Error(`${each.id} and ${id} share CPUs`);
    if (each.cpuset === 'exclusive') {
      if (cpus.size !== each.cpus || cpus.overlaps(reserved)) throw new Error(`${each.id} got ${result.cpus}`);
      owned.set(each.id, cpus);
    }
    if (each.numa === 'required' && (nodesOf(topology, cpus) !== 1 || CpuSet.parse(result.mems).size !== 1)) {
      throw new Error(`${each.id} is on ${result.cpus} and nodes ${result.mems}`);
    }
  }
}

if (archives.length === 0) {
  await t.test('real machines', { skip: `${join(folder, 'topologies')} is absent` }, async () => {});
} else {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-plan-'));
  t.teardown(() => rm(scratch, { recursive: true, force: true }));
  for (const archive of archives) {
    await t.test(archive.replace('.tar.bz2', ''), async (t) => {
      const place = await mkdtemp(join(scratch, 'machine-'));
      await promisify(execFile)('tar', ['xjf', join(folder, 'topologies', archive), '-C', place]);
      const [top = ''] = await readdir(place);
      const { topology } = await readHostTopology(join(place, top), AbortSignal.timeout(60_000));
      const property = fc.property(
        fc.array(operation, { minLength: 1, maxLength: 30 }),
        fc.constantFrom('spread' as const, 'pack' as const),
        (list, strategy) => {
          const operations = list.map((each, index) =>
            parseTraceLine(
              JSON.stringify('of' in each ? { op: 'free', id: `p${each.of}` } : { ...each, id: `p${index}` }),
              index + 1,
            ),
          );
          checkRun(topology, strategy, operations);
        },
      );
      holds(t, 'the rules hold', property, RUNS);
    });
  }
}
