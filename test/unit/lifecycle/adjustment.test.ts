import t from 'tap';
import { mergeContributions } from '../../../agent/lifecycle/adjustment.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';

t.test('contributions to different fields are put together', async (t) => {
  const merged = mergeContributions(
    new Map([
      ['cpuset', { cpusetCpus: CpuSet.of(1), annotations: { 'internal.holdfast.dev/cpus': '1' } }],
      ['resources', { cpuQuota: -1, annotations: { 'internal.holdfast.dev/grade': 'gold' } }],
    ]),
  );
  t.equal(merged.cpuQuota, -1);
  t.equal(merged.cpusetCpus?.toString(), '1');
  t.same(merged.annotations, { 'internal.holdfast.dev/cpus': '1', 'internal.holdfast.dev/grade': 'gold' });
});

t.test('a field with two owners is a programming error', async (t) => {
  const twice = new Map([
    ['one', { cpuQuota: -1 }],
    ['two', { cpuQuota: 100 }],
  ]);
  t.throws(() => mergeContributions(twice), { code: 'BUG', message: /one and two both set cpuQuota/ });
  const annotated = new Map([
    ['one', { annotations: { key: 'a' } }],
    ['two', { annotations: { key: 'a' } }],
  ]);
  t.throws(() => mergeContributions(annotated), { code: 'BUG' });
});
