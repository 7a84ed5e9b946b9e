import fc from 'fast-check';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { DEFAULT_POLICY } from '../../../agent/model/policy.ts';
import {
  POLICY_ANNOTATION,
  readContainerStamp,
  readPodStamp,
  stampContainerPolicy,
  stampPodPolicy,
} from '../../../agent/model/policy-stamp.ts';
import { formatSharedMask, parseSharedMask } from '../../../agent/model/shared-mask.ts';

const containerPolicy = fc.record({
  restart: fc.constantFrom('rebuild' as const, 'reuse' as const),
  cpuset: fc.constantFrom('shared' as const, 'exclusive' as const),
  numa: fc.constantFrom('none' as const, 'preferred' as const, 'required' as const),
  numaScope: fc.constantFrom('pod' as const, 'container' as const),
});

t.test('what was stamped is what is read', async () => {
  fc.assert(
    fc.property(containerPolicy, fc.array(fc.tuple(fc.string(), containerPolicy)), (podWide, each) => {
      const pod = { ...podWide, containers: new Map(each) };
      const readContainer = readContainerStamp({ [POLICY_ANNOTATION]: stampContainerPolicy(podWide) });
      const readPod = readPodStamp({ [POLICY_ANNOTATION]: stampPodPolicy(pod) });
      t.same(readContainer, podWide);
      t.same(readPod, pod);
    }),
    { numRuns: 50 },
  );
});

t.test('no stamp is not a damaged stamp', async (t) => {
  t.equal(readContainerStamp({}), undefined);
  t.same(readContainerStamp({ [POLICY_ANNOTATION]: '{}' }), DEFAULT_POLICY);
  for (const text of ['', 'x', '[]', 'null', '{"restart":"maybe"}', '{"cpuset":1}']) {
    t.throws(() => readContainerStamp({ [POLICY_ANNOTATION]: text }), { code: 'DAMAGED' }, text);
  }
});

t.test('the shared mask names at least one CPU or is damaged', async (t) => {
  t.ok(parseSharedMask(formatSharedMask({ cpus: CpuSet.of(0, 1) })).cpus.equals(CpuSet.of(0, 1)));
  for (const text of ['', '{}', '{"version":1,"cpus":""}', '{"cpus":"x"}']) {
    t.throws(() => parseSharedMask(text), { code: 'DAMAGED' }, text);
  }
});
