// From files to the model: every oddity of kernels and firmware that we know of, each on the smallest machine.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { readConfinement } from '../../../agent/host/procfs.ts';
import { readRawHost } from '../../../agent/host/sysfs.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { Cpu, HostTopology } from '../../../agent/model/host-topology.ts';
import { type AssembledHost, assembleHost } from '../../../agent/topology/assemble.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { type FakeCpu, type FakeMachine, filesOf, regularMachine, treeOf } from './fake-machine.ts';

const CPU = '/sys/devices/system/cpu';
const NODE = '/sys/devices/system/node';

async function assemble(files: ReadonlyMap<string, string>): Promise<AssembledHost> {
  const tree = treeOf(files);
  return assembleHost(await readRawHost(tree, new AbortController().signal), await readConfinement(tree));
}

/** Files without those that match. */
function without(files: ReadonlyMap<string, string>, pattern: RegExp): Map<string, string> {
  return new Map([...files].filter(([path]) => !pattern.test(path)));
}

function groups(topology: HostTopology, field: 'core' | 'die' | 'socket' | 'l3'): readonly string[] {
  const online = topology.cpus.filter((cpu) => cpu.online);
  const keys = [...new Set(online.map((cpu) => cpu[field]))];
  return keys
    .map((key) => CpuSet.from(online.filter((cpu) => cpu[field] === key).map(({ id }) => id)).toString())
    .sort();
}

function expected(machine: FakeMachine, key: (cpu: FakeCpu) => string): readonly string[] {
  const online = machine.cpus.filter((cpu) => cpu.online);
  const keys = [...new Set(online.map(key))];
  return keys
    .map((each) => CpuSet.from(online.filter((cpu) => key(cpu) === each).map(({ id }) => id)).toString())
    .sort();
}

function cpu(topology: HostTopology, id: number): Cpu {
  const found = topology.cpus.find((each) => each.id === id);
  if (found === undefined) throw new Error(`CPU ${id} is absent`);
  return found;
}

const machineArbitrary: fc.Arbitrary<FakeMachine> = fc
  .record({
    sockets: fc.integer({ min: 1, max: 3 }),
    nodes: fc.integer({ min: 1, max: 3 }),
    cores: fc.integer({ min: 1, max: 3 }),
    threads: fc.integer({ min: 1, max: 2 }),
    gap: fc.integer({ min: 1, max: 40 }),
    offline: fc.array(fc.nat({ max: 53 }), { maxLength: 5 }),
  })
  .map(({ sockets, nodes, cores, threads, gap, offline }) => {
    const machine = regularMachine(sockets, nodes, cores, threads);
    return {
      cpus: machine.cpus.map((each) => ({
        ...each,
        node: each.node * gap,
        online: each.id === 0 || !offline.includes(each.id),
      })),
      nodes: machine.nodes.map((node) => ({ ...node, id: node.id * gap })),
    };
  });

await t.test('any regular machine comes back as it was described', () =>
  fc.assert(
    fc.asyncProperty(machineArbitrary, async (machine) => {
      const { topology, remarks } = await assemble(filesOf(machine));
      assert.deepEqual(remarks, []);
      assert.deepEqual(
        groups(topology, 'core'),
        expected(machine, (each) => `${each.socket} ${each.core}`),
      );
      assert.deepEqual(
        groups(topology, 'die'),
        expected(machine, (each) => `${each.socket} ${each.die}`),
      );
      assert.deepEqual(
        groups(topology, 'socket'),
        expected(machine, (each) => `${each.socket}`),
      );
      assert.deepEqual(
        groups(topology, 'l3'),
        expected(machine, (each) => `${each.cache}`),
      );
      assert.deepEqual(
        topology.numaNodes.map(({ id, cpus, memoryBytes }) => [id, cpus.toString(), memoryBytes]),
        machine.nodes.map(({ id, kilobytes }) => [
          id,
          CpuSet.from(machine.cpus.filter((each) => each.online && each.node === id).map((each) => each.id)).toString(),
          kilobytes * 1024,
        ]),
      );
      for (const each of topology.cpus) {
        if (!each.online) assert.deepEqual([each.core, each.die, each.socket, each.l3], [-1, -1, -1, -1]);
        else assert.ok(topology.numaNodes.find(({ id }) => id === each.numaNode)?.cpus.has(each.id));
      }
    }),
    { numRuns: 60 },
  ),
);

await t.test('garbage in any file is an error that names it, never a crash or a broken model', async () => {
  const files = filesOf(regularMachine(2, 1, 2, 2));
  const paths = [...files.keys()];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.oneof(fc.string(), fc.constantFrom('', '-1', '4294967295', '0-3', 'ffffffff', '9'.repeat(30), '0-99999999')),
      async (path, garbage) => {
        try {
          const { topology } = await assemble(new Map([...files, [path, garbage]]));
          const cores = new Map<number, number>();
          for (const each of topology.cpus.filter(({ online }) => online)) {
            assert.ok(each.core >= 0 && each.socket >= 0 && each.die >= 0);
            assert.equal(cores.get(each.core) ?? each.socket, each.socket, 'a core is in one socket');
            cores.set(each.core, each.socket);
          }
        } catch (error) {
          if (!(error instanceof HoldfastError)) throw error;
          assert.ok(
            error.code === 'PRECONDITION' || error.message.includes(path.replace(/\/[^/]*$/, '')),
            error.message,
          );
        }
      },
    ),
    { numRuns: 300 },
  );
});

await t.test('kernels before 5.3: no die_id, other names, masks instead of lists', async (t) => {
  const machine = regularMachine(2, 1, 2, 2);
  const files = without(filesOf(machine), /die_id|_list$|cpulist$/);
  for (const each of machine.cpus) {
    const mask = machine.cpus
      .filter((other) => other.socket === each.socket && other.core === each.core)
      .reduce((sum, other) => sum + 2 ** other.id, 0);
    files.set(`${CPU}/cpu${each.id}/topology/thread_siblings`, `00000000,${mask.toString(16).padStart(8, '0')}\n\0\0`);
  }
  files.set(`${NODE}/node0/cpumap`, '00000033\n');
  files.set(`${NODE}/node1/cpumap`, '000000cc\n');
  const { topology } = await assemble(files);
  t.same(groups(topology, 'core'), ['0,4', '1,5', '2,6', '3,7']);
  t.same(groups(topology, 'die'), groups(topology, 'socket'));
  t.equal(cpu(topology, 0).l3, -1, 'the lists of cache sharers are gone');
  t.equal(topology.numaNodes[1]?.cpus.toString(), '2-3,6-7');
});

await t.test('kernels of before 2009: no lists of CPUs at all', async (t) => {
  const machine = regularMachine(1, 1, 4, 1);
  const files = without(filesOf(machine), /\/cpu\/(present|online|isolated)$/);
  files.set(`${CPU}/cpu2/online`, '0\n');
  const { topology } = await assemble(without(files, /cpu2\/(topology|cache)/));
  t.equal(topology.usableCpus.toString(), '0-1,3');
  t.match(cpu(topology, 2), { online: false, core: -1 });
});

await t.test('firmware that does not know its packages (-1 on ARM)', async (t) => {
  const files = filesOf(regularMachine(2, 1, 2, 1));
  for (const id of [0, 1, 2, 3]) {
    files.set(`${CPU}/cpu${id}/topology/physical_package_id`, '-1\n');
    files.set(`${CPU}/cpu${id}/topology/package_cpus_list`, id < 2 ? '0-1\n' : '2-3\n');
    files.set(`${CPU}/cpu${id}/topology/die_id`, '-1\n');
  }
  const { topology } = await assemble(files);
  t.same(
    topology.cpus.map(({ socket }) => socket),
    [0, 0, 1, 1],
  );
  t.same(groups(topology, 'die'), ['0-1', '2-3']);

  const silent = await assemble(without(files, /package_cpus_list$/));
  t.same(groups(silent.topology, 'socket'), ['0-3'], 'nobody says anything: one socket');
});

await t.test('siblings with different core IDs are cores (compute units of AMD Bulldozer)', async (t) => {
  const files = filesOf(regularMachine(1, 1, 2, 1));
  for (const id of [0, 1]) files.set(`${CPU}/cpu${id}/topology/core_cpus_list`, '0-1\n');
  t.same(groups((await assemble(files)).topology, 'core'), ['0', '1']);
});

await t.test('hybrid CPUs: cores with two threads beside cores with one', async (t) => {
  const files = filesOf(regularMachine(1, 1, 3, 1));
  for (const id of [0, 1]) {
    files.set(`${CPU}/cpu${id}/topology/core_cpus_list`, '0-1\n');
    files.set(`${CPU}/cpu${id}/topology/core_id`, '0\n');
  }
  t.same(groups((await assemble(files)).topology, 'core'), ['0-1', '2']);
});

await t.test('a CPU without a topology directory is a core of its own', async (t) => {
  const files = without(filesOf(regularMachine(1, 1, 2, 1)), /\/(topology|cache)\//);
  const { topology } = await assemble(files);
  t.same(groups(topology, 'core'), ['0', '1']);
  t.same(groups(topology, 'socket'), ['0-1']);
});

await t.test('a CPU that goes offline while we read is dropped from its core', async (t) => {
  const files = without(filesOf(regularMachine(1, 1, 2, 2)), /cpu2\/topology/);
  const { topology } = await assemble(files);
  t.equal(cpu(topology, 0).core, 0);
  t.equal(cpu(topology, 2).core, 2);
});

await t.test('a kernel without NUMA is one node 0 with all memory', async (t) => {
  const files = without(filesOf(regularMachine(1, 1, 2, 1)), /system\/node/);
  files.set('/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages', '2\n');
  files.set('/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages', '1\n');
  const { topology } = await assemble(files);
  t.equal(topology.usableMems.toString(), '0');
  t.match(topology.numaNodes, [
    { id: 0, memoryBytes: 1024 * 1024, hugepages: [{ pageSizeBytes: 2 ** 30, total: 2, free: 1 }] },
  ]);
  t.equal(topology.numaNodes[0]?.cpus.toString(), '0-1');
  t.equal(cpu(topology, 1).numaNode, 0);
});

await t.test('memory-only nodes, and CPUs whose node is offline', async (t) => {
  const machine = regularMachine(2, 1, 1, 1);
  const files = filesOf(machine);
  files.set(`${NODE}/node2/cpulist`, '\n');
  files.set(`${NODE}/node2/meminfo`, 'Node 2 MemTotal: 77 kB\n');
  files.set(`${NODE}/node2/distance`, '20 20 10\n');
  files.set(`${NODE}/node0/distance`, '10 21 20\n');
  const { topology, remarks } = await assemble(without(files, /node1\//));
  t.same(
    topology.numaNodes.map(({ id, cpus }) => [id, cpus.toString()]),
    [
      [0, '0'],
      [2, ''],
    ],
  );
  t.equal(cpu(topology, 1).numaNode, -1);
  t.equal(topology.usableCpus.toString(), '0-1');
  t.equal(remarks.length, 2, 'three distances for two nodes');
  t.same(
    [...(topology.numaNodes[0]?.distances ?? [])],
    [
      [0, 10],
      [2, 20],
    ],
  );
});

await t.test('a node that claims the CPUs of another is left out, and said so', async (t) => {
  const files = filesOf(regularMachine(2, 1, 1, 1));
  files.set(`${NODE}/node1/cpulist`, '0-1\n');
  const { topology, remarks } = await assemble(files);
  t.same(
    topology.numaNodes.map(({ id }) => id),
    [0],
  );
  t.match(remarks, [/node1 claims CPUs 0 /]);
  t.same([...(topology.numaNodes[0]?.distances.keys() ?? [])], [0]);
});

await t.test('isolated CPUs stay usable but are named', async (t) => {
  const files = filesOf(regularMachine(1, 1, 4, 1)).set(`${CPU}/isolated`, '2-3\n');
  t.equal((await assemble(files)).topology.isolatedCpus.toString(), '2-3');
});

await t.test('confined by a cpuset, by affinity, and to nothing that is there', async (t) => {
  const files = filesOf(regularMachine(2, 1, 2, 1));
  const status = 'Name:\tnode\nCpus_allowed:\t7\nCpus_allowed_list:\t0-2\nMems_allowed_list:\t0\n';
  const byAffinity = (await assemble(new Map([...files, ['/proc/self/status', status]]))).topology;
  t.equal(byAffinity.usableCpus.toString(), '0-2');
  t.equal(byAffinity.usableMems.toString(), '0');

  const cgroup = new Map([
    ...files,
    ['/proc/self/status', status],
    ['/proc/self/mounts', 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n'],
    ['/proc/self/cgroup', '0::/system.slice/agent.service\n'],
    ['/sys/fs/cgroup/system.slice/cpuset.cpus.effective', '1-3\n'],
    ['/sys/fs/cgroup/cpuset.mems.effective', '0-1\n'],
  ]);
  const byCpuset = (await assemble(cgroup)).topology;
  t.equal(byCpuset.usableCpus.toString(), '1-3', 'the cpuset, not the affinity that systemd gave the service');
  t.equal(byCpuset.usableMems.toString(), '0-1');

  const nowhere = new Map([...files, ['/proc/self/status', 'Cpus_allowed_list:\t64\n']]);
  await t.rejects(assemble(nowhere), { code: 'PRECONDITION', message: /none of which is online/ });
});

await t.test('siblings in two sockets', async (t) => {
  const files = filesOf(regularMachine(1, 1, 1, 2)).set(`${CPU}/cpu1/topology/physical_package_id`, '1\n');
  await t.rejects(assemble(files), { code: 'HOST_FAILURE', message: /cpu1\/topology and .*cpu0\/topology contradict/ });
});

await t.test('no CPU online, and a folder that is no machine', async (t) => {
  const files = filesOf(regularMachine(1, 1, 1, 1)).set(`${CPU}/online`, '\n');
  await t.rejects(assemble(files), { code: 'PRECONDITION', message: /no CPU online/ });
  await t.rejects(assemble(new Map([['/etc/passwd', '']])), {
    code: 'PRECONDITION',
    message: /must be \/ or the top folder/,
  });
});

await t.test('more free huge pages than there are', async (t) => {
  const files = filesOf(regularMachine(1, 1, 1, 1)).set(
    `${NODE}/node0/hugepages/hugepages-2048kB/free_hugepages`,
    '513\n',
  );
  await t.rejects(assemble(files), { code: 'HOST_FAILURE', message: /free_hugepages holds "513"/ });
});
