import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { needFromCri, needOfContainer } from '../../../agent/lifecycle/resource-need.ts';
import { bytes, milliCpu } from '../../../agent/model/quantity.ts';
import { LinuxContainerResourcesSchema } from '../../../proto/gen/wire/cri/v1/cri_pb.ts';

/** As the kubelet computes them (pkg/kubelet/cm/helpers_linux.go). */
const sharesOf = (milli: number): bigint => BigInt(milli === 0 ? 2 : Math.max(2, Math.floor((milli * 1024) / 1000)));
const quotaOf = (milli: number): bigint => BigInt(Math.max(1000, (milli * 100_000) / 1000));

t.test('requests and limits come back as the pod wrote them', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 10, max: 256_000 }), fc.integer({ min: 10, max: 256_000 }), (request, limit) => {
      const need = needFromCri(
        create(LinuxContainerResourcesSchema, {
          cpuShares: sharesOf(request),
          cpuQuota: quotaOf(limit),
          cpuPeriod: 100_000n,
        }),
      );
      return need.cpuRequest === request && need.cpuLimit === limit;
    }),
  );
});

t.test('what was not said is absent', async (t) => {
  t.same(needFromCri(undefined), { hugepages: new Map() });
  const need = needFromCri(
    create(LinuxContainerResourcesSchema, { cpuShares: 2n, cpuQuota: -1n, cpuPeriod: 100_000n }),
  );
  t.same(need, { cpuRequest: 0, hugepages: new Map() });
});

t.test('hugepage sizes are powers of 1024; other texts are left out', async (t) => {
  const need = needFromCri(
    create(LinuxContainerResourcesSchema, {
      hugepageLimits: [
        { pageSize: '2MB', limit: 4_194_304n },
        { pageSize: '1GB', limit: 0n },
        { pageSize: 'huge', limit: 1n },
      ],
    }),
  );
  t.same([...need.hugepages], [[2_097_152, 4_194_304]]);
});

t.test('the spec knows requests better, CRI knows limits better', async (t) => {
  const resources = create(LinuxContainerResourcesSchema, { cpuShares: 2n, memoryLimitInBytes: 200n });
  const need = needOfContainer(resources, {
    name: 'web',
    kind: 'app',
    cpuRequest: milliCpu(1000),
    cpuLimit: milliCpu(2000),
    memoryRequest: bytes(100),
    memoryLimit: bytes(150),
    hugepages: new Map(),
  });
  t.match(need, { cpuRequest: 1000, cpuLimit: 2000, memoryRequest: 100, memoryLimit: 200 });
});
