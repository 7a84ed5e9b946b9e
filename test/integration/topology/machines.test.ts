// The trees of real machines, read by us and by hwloc, which must agree. hwloc is an independent judge: it reads the
// same files with other code.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { Cpu, HostTopology } from '../../../agent/model/host-topology.ts';
import { readHostTopology } from '../../../agent/topology/read-topology.ts';
import { type HwlocObject, lstopo, lstopoVersion, parseHwlocSet } from './hwloc.ts';

const folder = process.env['HOLDFAST_TEST_DATA'] ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
const archives = (await readdir(join(folder, 'topologies')).catch((): string[] => [])).filter((name) =>
  name.endsWith('.tar.bz2'),
);
const judge = await lstopoVersion();

/** The groups that a number of ours makes of the online CPUs, as sorted lists: what they are called is ours to choose. */
function groupsBy(topology: HostTopology, field: 'core' | 'socket' | 'die' | 'l3'): readonly string[] {
  const groups = new Map<number, number[]>();
  for (const cpu of topology.cpus) {
    if (cpu.online && cpu[field] !== -1) groups.set(cpu[field], [...(groups.get(cpu[field]) ?? []), cpu.id]);
  }
  return [...groups.values()].map((ids) => CpuSet.from(ids).toString()).sort();
}

function groupsOf(objects: readonly HwlocObject[], type: string): readonly string[] {
  return objects
    .filter((object) => object.type === type)
    .map(({ cpus }) => cpus.toString())
    .sort();
}

function machineSet(objects: readonly HwlocObject[], attribute: string): string {
  const machine = objects.find(({ type }) => type === 'Machine');
  return parseHwlocSet(machine?.attributes.get(attribute) ?? '').toString();
}

async function compare(t: Test, topology: HostTopology, objects: readonly HwlocObject[]): Promise<void> {
  const online = topology.cpus.filter((cpu) => cpu.online);
  t.equal(CpuSet.from(online.map(({ id }: Cpu) => id)).toString(), machineSet(objects, 'cpuset'), 'online CPUs');
  t.equal(topology.usableCpus.toString(), machineSet(objects, 'allowed_cpuset'), 'CPUs that the cgroup allows');
  t.equal(topology.usableMems.toString(), machineSet(objects, 'allowed_nodeset'), 'nodes that the cgroup allows');
  t.same(groupsBy(topology, 'core'), groupsOf(objects, 'Core'), 'cores');
  t.same(groupsBy(topology, 'socket'), groupsOf(objects, 'Package'), 'sockets');

  // hwloc shows dies only where a package has several, L3 caches only of level 3.
  const dies = groupsOf(objects, 'Die');
  t.same(groupsBy(topology, 'die'), dies.length > 0 ? dies : groupsOf(objects, 'Package'), 'dies');
  const l3 = groupsOf(objects, 'L3Cache');
  if (l3.length > 0) t.same(groupsBy(topology, 'l3'), l3, 'L3 caches');

  const nodes = objects.filter(({ type }) => type === 'NUMANode');
  t.same(
    topology.numaNodes.map(({ id, memoryBytes }) => [id, memoryBytes]),
    nodes.map(({ osIndex, localMemory }) => [osIndex, localMemory]).sort(([a = 0], [b = 0]) => a - b),
    'NUMA nodes and their memory',
  );
  for (const node of topology.numaNodes) {
    // hwloc gives a node without CPUs those of its nearest neighbours; to us it stays a memory-only node.
    if (node.cpus.isEmpty) continue;
    t.equal(
      node.cpus.toString(),
      nodes.find(({ osIndex }) => osIndex === node.id)?.cpus.toString(),
      `CPUs of node ${node.id}`,
    );
  }
  for (const cpu of online) {
    const inNode = topology.numaNodes.find(({ cpus }) => cpus.has(cpu.id))?.id ?? -1;
    if (cpu.numaNode !== inNode) t.fail(`CPU ${cpu.id} says node ${cpu.numaNode}, but is listed in node ${inNode}`);
  }
}

if (archives.length === 0) {
  await t.test('real machines', { skip: `${join(folder, 'topologies')} is absent` }, async () => {});
} else if (judge === undefined) {
  await t.test('real machines', { skip: 'lstopo is not installed (Debian package hwloc-nox)' }, async () => {});
} else {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-topologies-'));
  t.teardown(() => rm(scratch, { recursive: true, force: true }));
  for (const archive of archives) {
    await t.test(archive.replace('.tar.bz2', ''), async (t) => {
      const place = await mkdtemp(join(scratch, 'machine-'));
      await promisify(execFile)('tar', ['xjf', join(folder, 'topologies', archive), '-C', place]);
      const [top = ''] = await readdir(place);
      const root = join(place, top);
      const { topology } = await readHostTopology(root, AbortSignal.timeout(60_000));
      await compare(t, topology, await lstopo(root));
    });
  }
}
