// The picture of a host: what people see, for every width and every machine.
import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { drawTopology, NARROWEST } from '../../../agent/cli/topology-picture.ts';
import { readConfinement } from '../../../agent/host/procfs.ts';
import { readRawHost } from '../../../agent/host/sysfs.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { assembleHost } from '../../../agent/topology/assemble.ts';
import { publishTopology, unallocated } from '../../../agent/topology/publish.ts';
import {
  type HostTopology,
  ListAllocationsResponseSchema,
} from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';
import { type FakeMachine, filesOf, regularMachine, treeOf } from '../topology/fake-machine.ts';

const PLAIN = { width: 80, colour: false };
const allocationsOf = (pods: MessageInitShape<typeof ListAllocationsResponseSchema>['pods'] = []) =>
  create(ListAllocationsResponseSchema, { pods });
const NONE = allocationsOf();

async function publish(
  machine: FakeMachine,
  reserved = '',
  extra: ReadonlyMap<string, string> = new Map(),
): Promise<HostTopology> {
  const tree = treeOf(new Map([...filesOf(machine), ...extra]));
  const { topology } = assembleHost(await readRawHost(tree, new AbortController().signal), await readConfinement(tree));
  return publishTopology(topology, unallocated(topology, CpuSet.parse(reserved)), { version: 1n, nodeName: 'host-1' });
}

/** Takes CPUs from what is free and shared, as the agent does when a container owns them. */
function take(host: HostTopology, cpus: string): void {
  const taken = CpuSet.parse(cpus);
  for (const node of host.numaNodes) {
    node.freeCpus = CpuSet.parse(node.freeCpus).minus(taken).toString();
    node.sharedCpus = CpuSet.parse(node.sharedCpus).minus(taken).toString();
  }
}

await t.test('two sockets with SMT: reserved, owned, isolated and offline CPUs', async (t) => {
  const machine = regularMachine(2, 1, 4, 2);
  const offline = { ...machine, cpus: machine.cpus.map((cpu) => ({ ...cpu, online: cpu.id !== 15 })) };
  const host = await publish(offline, '0,8', new Map([['/sys/devices/system/cpu/isolated', '7\n']]));
  take(host, '1-2,9-10');
  const allocations = allocationsOf([
    {
      namespace: 'prod',
      name: 'db-0',
      containers: [
        { name: 'postgres', cpuset: 'exclusive', cpus: '1,9', mems: '0' },
        { name: 'logs', cpuset: 'shared', cpus: '0,3,8,11', mems: '0' },
      ],
    },
    { namespace: 'prod', name: 'web-1', containers: [{ name: 'nginx', cpuset: 'exclusive', cpus: '2', mems: '' }] },
    { namespace: 'prod', name: 'job', containers: [{ name: 'run', cpuset: 'shared', cpus: '0', mems: '' }] },
  ]);
  t.equal(
    drawTopology(host, allocations, PLAIN),
    [
      'host-1: 2 sockets, 2 NUMA nodes, 8 cores, 15 CPUs (1 more offline), 3 MiB',
      '',
      'NUMA node 0, 1 MiB, 2 MiB pages: 100 of 512 free, distance 1:21',
      '  socket 0, L3 0',
      '    [ 0r  8r] [ 1A  9A] [ 2B 10#] [ 3. 11.]',
      '',
      'NUMA node 1, 2 MiB, 2 MiB pages: 100 of 512 free, distance 0:21',
      '  socket 1, L3 4',
      '    [ 4. 12.] [ 5. 13.] [ 6. 14.] [ 7x]',
      '',
      'in no NUMA node',
      '  offline',
      '    [15o]',
      '',
      '. shared, r reserved (shared, never exclusive),',
      '  # owned exclusively (see the list), o offline,',
      "  x kept out (isolated, or outside the agent's cpuset), A-B owned exclusively",
      '',
      '   CONTAINER           CPUSET     CPUS      MEMORY',
      'A  prod/db-0/postgres  exclusive  1,9       0',
      'B  prod/web-1/nginx    exclusive  2         -',
      '   prod/db-0/logs      shared     0,3,8,11  0',
      '',
      '1 more container in the shared CPUs.',
      '',
    ].join('\n'),
  );
});

await t.test('a host of one CPU, without a name', async (t) => {
  const host = await publish(regularMachine(1, 1, 1, 1));
  host.nodeName = '';
  const picture = drawTopology(host, NONE, PLAIN);
  t.match(picture, /^1 socket, 1 NUMA node, 1 core, 1 CPU, 1 MiB\n/);
  t.match(picture, /\n {4}0\.\n/);
});

await t.test('memory that is promised, and a node without CPUs', async (t) => {
  const machine = regularMachine(1, 1, 2, 1);
  const host = await publish({ ...machine, nodes: [...machine.nodes, { id: 5, kilobytes: 2048 }] });
  for (const node of host.numaNodes) node.memoryAvailableBytes = node.memoryBytes / 2n;
  const picture = drawTopology(host, NONE, PLAIN);
  t.match(picture, /NUMA node 0, 1 MiB \(512 KiB available\)/);
  t.match(picture, /\n {2}memory \[={15}-{15}\] 512 KiB of 1 MiB promised\n/);
  t.match(picture, /NUMA node 5, 2 MiB .*\n.*\n {2}memory .*\n {2}no CPUs\n/);
  for (const node of host.numaNodes) node.memoryAvailableBytes = node.memoryBytes - 1n;
  t.match(drawTopology(host, NONE, PLAIN), /\[=-{29}\]/, 'a little is not nothing');
  for (const node of host.numaNodes) node.memoryAvailableBytes = 0n;
  t.match(drawTopology(host, NONE, PLAIN), /\[={30}\] 1 MiB of 1 MiB promised/);
});

await t.test('1024 CPUs fit on a page: ranges instead of cores', async (t) => {
  const host = await publish(regularMachine(2, 4, 64, 2), '0,512');
  take(host, '4-7');
  const allocations = allocationsOf([
    { namespace: 'a', name: 'b', containers: [{ name: 'c', cpuset: 'exclusive', cpus: '4-7', mems: '0' }] },
  ]);
  const picture = drawTopology(host, allocations, PLAIN);
  t.ok(picture.split('\n').length < 80, 'a few lines for each node');
  t.match(picture, / {4}reserved: 0,512\n {4}shared: 1-3,8-63,513-575\n {4}A: 4-7\n/);
});

await t.test('more owners than letters', async (t) => {
  const host = await publish(regularMachine(1, 1, 32, 1));
  take(host, '0-29');
  const pods = Array.from({ length: 30 }, (_, id) => ({
    namespace: 'n',
    name: `p${id}`,
    containers: [{ name: 'c', cpuset: 'exclusive', cpus: `${id}`, mems: '' }],
  }));
  const picture = drawTopology(host, allocationsOf(pods), PLAIN);
  t.match(picture, /25Z 26# 27#/);
  t.match(picture, /A-Z owned exclusively/);
  t.match(picture, /\n# {2}n\/p29\/c/);
});

await t.test('colour only where it is wanted, and then the same text', async (t) => {
  const host = await publish(regularMachine(2, 1, 4, 2), '0');
  const plain = drawTopology(host, NONE, PLAIN);
  const coloured = drawTopology(host, NONE, { width: 80, colour: true });
  t.equal(plain, stripVTControlCharacters(plain));
  t.not(coloured, plain);
  t.equal(stripVTControlCharacters(coloured), plain);
});

await t.test('a long name of the host is shortened, and of the owners what tells them apart is left', async (t) => {
  const host = await publish(regularMachine(1, 1, 2, 1));
  host.nodeName = `${'worker-'.repeat(12)}eu-central-1.example.org`;
  const allocations = allocationsOf([
    { namespace: 'n', name: 'p'.repeat(60), containers: [{ name: 'c', cpuset: 'exclusive', cpus: '0', mems: '0' }] },
  ]);
  const lines = drawTopology(host, allocations, PLAIN).split('\n');
  t.equal(lines[0], `${host.nodeName.slice(0, 78)}…:`);
  t.match(lines[1], /^ {2}1 socket, /);
  t.ok(lines.includes(`A  n/${'p'.repeat(25)}…  exclusive  0     0`));
});

await t.test('names of others cannot write to the terminal', async (t) => {
  const host = await publish(regularMachine(1, 1, 2, 1));
  const evil = '\u001b[2J\r\n\u007f\u009b31m';
  host.nodeName = `host${evil}`;
  const container = { name: `c${evil}`, cpuset: `x${evil}`, cpus: '0', mems: evil };
  const allocations = allocationsOf([{ namespace: `n${evil}`, name: `p${evil}`, containers: [container] }]);
  const picture = drawTopology(host, allocations, PLAIN);
  t.notMatch(picture.replaceAll('\n', ''), /\p{Cc}/u);
  t.match(picture, /^host�\[2J����31m: 1 socket/);
});

await t.test('fits any width, and shows every CPU once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 2 }),
      fc.constantFrom(1, NARROWEST, 80, 120),
      fc.string({ maxLength: 300 }),
      fc.boolean(),
      async (sockets, nodes, cores, threads, width, name, isPromised) => {
        const host = await publish(regularMachine(sockets, nodes, cores, threads));
        host.nodeName = name;
        for (const node of host.numaNodes) {
          node.memoryBytes = 1_099_000_000_000n;
          node.memoryAvailableBytes = isPromised ? 1n : node.memoryBytes;
        }
        const allocations = allocationsOf([
          { namespace: 'n', name, containers: [{ name: 'c', cpuset: 'exclusive', cpus: '0', mems: '0' }] },
        ]);
        const picture = drawTopology(host, allocations, { width, colour: false });
        const lines = picture.split('\n');
        const tooLong = lines.find((line) => line.length > Math.max(width, NARROWEST));
        assert.equal(tooLong, undefined);
        assert.ok(!/\p{Cc}/u.test(lines.join('')));
        if (host.cpus.length <= 160) {
          const drawn = lines
            .filter((line) => line.startsWith('    '))
            .flatMap((line) => line.match(/\d+(?=[.rAox#])/g) ?? []);
          assert.deepEqual(
            drawn.map(Number).sort((a, b) => a - b),
            host.cpus.map(({ id }) => id),
          );
        }
      },
    ),
    { numRuns: 25 },
  );
});

await t.test('machines from 2 to 512 CPUs fit 80 columns, whoever owns what', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom([1, 1, 1, 2], [1, 1, 8, 2], [2, 2, 8, 2], [2, 8, 8, 2], [4, 4, 16, 2], [8, 1, 64, 1]),
      fc.array(fc.tuple(fc.nat(511), fc.integer({ min: 1, max: 64 })), { maxLength: 40 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (shape, owned, left) => {
        const [sockets = 1, nodes = 1, cores = 1, threads = 1] = shape;
        const host = await publish(regularMachine(sockets, nodes, cores, threads), '0');
        for (const node of host.numaNodes) {
          node.memoryBytes *= 1_000_003n;
          node.memoryAvailableBytes = BigInt(Math.floor(Number(node.memoryBytes) * left));
        }
        const count = host.cpus.length;
        const pods = owned.map(([first, size], index) => {
          // Every third CPU: lists that cannot be written as ranges.
          const cpus = CpuSet.from(Array.from({ length: size }, (_, at) => (first + 3 * at) % count)).toString();
          take(host, cpus);
          const mems = CpuSet.from(host.numaNodes.map(({ id }) => id).filter((id) => id % 2 === 0)).toString();
          const containers = [
            { name: 'container-'.repeat(4), cpuset: index % 2 === 0 ? 'exclusive' : 'shared', cpus, mems },
          ];
          return { namespace: `namespace-${index}`, name: `pod-${first}`, containers };
        });
        const lines = drawTopology(host, allocationsOf(pods), PLAIN).split('\n');
        assert.equal(
          lines.find((line) => line.length > 80),
          undefined,
        );
      },
    ),
    { numRuns: 25 },
  );
});
