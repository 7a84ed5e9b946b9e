// The published message: every field, and the view of a host without an agent.
import { toJson } from '@bufbuild/protobuf';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import type { HostTopology } from '../../../agent/model/host-topology.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { publishTopology, unallocated } from '../../../agent/topology/publish.ts';
import { HostTopologySchema } from '../../../proto/gen/holdfast/topology/v1/topology_pb.ts';

const host: HostTopology = {
  cpus: [0, 1, 2, 3].map((id) => ({ id, core: id, die: 0, socket: 0, numaNode: id < 3 ? 0 : 7, l3: 0, online: true })),
  numaNodes: [
    {
      id: 0,
      cpus: CpuSet.parse('0-2'),
      memoryBytes: bytes(4096),
      hugepages: [{ pageSizeBytes: bytes(2048), total: 2, free: 1 }],
      distances: new Map([[0, 10]]),
    },
    {
      id: 7,
      cpus: CpuSet.of(3),
      memoryBytes: bytes(2 ** 40),
      hugepages: [{ pageSizeBytes: bytes(2048), total: 4, free: 4 }],
      distances: new Map(),
    },
  ],
  usableCpus: CpuSet.parse('0-2'),
  isolatedCpus: CpuSet.of(2),
  usableMems: CpuSet.of(0),
};

await t.test('without an agent what is usable and not isolated is free, reserved CPUs are shared only', async (t) => {
  const message = publishTopology(host, unallocated(host, CpuSet.parse('0,3')), { version: 3n, nodeName: 'n' });
  t.same(toJson(HostTopologySchema, message, { alwaysEmitImplicit: true }), {
    version: '3',
    nodeName: 'n',
    reservedCpus: '0',
    cpus: [0, 1, 2, 3].map((id) => ({
      id,
      core: id,
      die: 0,
      socket: 0,
      numaNode: id < 3 ? 0 : 7,
      l3: 0,
      online: true,
    })),
    numaNodes: [
      {
        id: 0,
        cpus: '0-2',
        memoryBytes: '4096',
        memoryAvailableBytes: '4096',
        hugepages: [{ pageSizeBytes: '2048', total: '2', free: '1', availableBytes: '4096' }],
        distances: [{ node: 0, value: 10 }],
        allocatableCpus: '1',
        freeCpus: '1',
        sharedCpus: '0-1',
        boundSharedMillis: '0',
        boundShared: 0,
      },
      {
        id: 7,
        cpus: '3',
        memoryBytes: '1099511627776',
        memoryAvailableBytes: '0',
        hugepages: [{ pageSizeBytes: '2048', total: '4', free: '4', availableBytes: '0' }],
        distances: [],
        allocatableCpus: '',
        freeCpus: '',
        sharedCpus: '',
        boundSharedMillis: '0',
        boundShared: 0,
      },
    ],
  });
});

await t.test('a node that the view does not know has nothing to hand out', async (t) => {
  const message = publishTopology(
    host,
    {
      reservedCpus: CpuSet.EMPTY,
      nodes: new Map([
        [
          0,
          {
            allocatableCpus: CpuSet.parse('0-1'),
            freeCpus: CpuSet.of(1),
            sharedCpus: CpuSet.of(1),
            memoryAvailableBytes: bytes(1),
            hugepagesAvailable: new Map([[2048, bytes(2048)]]),
            boundSharedMillis: milliCpu(250),
            boundShared: 2,
          },
        ],
      ]),
    },
    { version: 0n, nodeName: '' },
  );
  t.match(message.numaNodes, [
    {
      allocatableCpus: '0-1',
      freeCpus: '1',
      sharedCpus: '1',
      memoryAvailableBytes: 1n,
      boundSharedMillis: 250n,
      boundShared: 2,
    },
    {
      allocatableCpus: '',
      freeCpus: '',
      sharedCpus: '',
      memoryAvailableBytes: 0n,
      boundSharedMillis: 0n,
      boundShared: 0,
    },
  ]);
  t.match(message.numaNodes[0]?.hugepages, [{ availableBytes: 2048n }]);
});
