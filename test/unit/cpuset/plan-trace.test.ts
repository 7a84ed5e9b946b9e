// The planner over a trace, as `holdfast plan --trace` runs it.
import t from 'tap';
import { parseTraceLine, startTrace } from '../../../agent/cpuset/plan-trace.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { evenHost, GIB } from '../../support/hand-made-hosts.ts';

const RULES = { strategy: 'pack', unboundMemory: 'proportional', reservedMemory: 0 } as const;

function run(lines: readonly string[]): readonly unknown[] {
  const next = startTrace(evenHost(2, 4, 2, { memoryBytes: 4 * GIB }), CpuSet.of(0), RULES);
  return lines.map((line, index) => next(parseTraceLine(line, index + 1)));
}

await t.test('allocates and frees', async (t) => {
  const results = run([
    '{"op":"alloc","id":"a","cpus":4,"memoryBytes":0,"cpuset":"exclusive","numa":"required"}',
    '{"op":"alloc","id":"b","cpus":0.5,"memoryBytes":1073741824,"cpuset":"shared","numa":"required"}',
    '{"op":"alloc","id":"c","cpus":4,"cpuset":"exclusive"}',
    '{"op":"free","id":"a"}',
    '{"op":"alloc","id":"d","cpus":1}',
  ]);
  t.strictSame(results, [
    { op: 'alloc', id: 'a', ok: true, cpus: '2-5', mems: '0' },
    { op: 'alloc', id: 'b', ok: true, cpus: '0-1,6-7', mems: '0' },
    { op: 'alloc', id: 'c', ok: true, cpus: '8-11', mems: '' },
    { op: 'free', id: 'a', ok: true },
    { op: 'alloc', id: 'd', ok: true, cpus: '0-7,12-15', mems: '' },
  ]);
});

await t.test('refuses with a reason and goes on', async (t) => {
  const results = run([
    '{"op":"alloc","id":"a","cpus":9,"cpuset":"exclusive","numa":"required"}',
    '{"op":"alloc","id":"b","cpus":1.5,"cpuset":"exclusive"}',
    '{"op":"free","id":"b"}',
    '{"op":"alloc","id":"c","cpus":1,"cpuset":"exclusive"}',
    '{"op":"alloc","id":"c","cpus":1,"cpuset":"exclusive"}',
  ]);
  t.match(results, [
    { ok: false, reason: /node 0: 7 of 9 CPUs free; node 1: 8 of 9 CPUs free/ },
    { ok: false, reason: /its CPU limit is 1.5/ },
    { ok: false, reason: /nothing is allocated/ },
    { ok: true, cpus: '1' },
    { ok: false, reason: /allocated already/ },
  ]);
});

await t.test('bad lines are named', async (t) => {
  for (const [line, message] of [
    ['{', /line 7 is not JSON/],
    ['[]', /line 7 is not an operation/],
    ['{"op":"move","id":"a"}', /line 7 .*op/],
    ['{"op":"alloc"}', /line 7 .*id/],
    ['{"op":"alloc","id":"a","cpus":"4"}', /line 7 .*cpus/],
    ['{"op":"alloc","id":"a","cpus":-1}', /line 7 .*cpus/],
    ['{"op":"alloc","id":"a","memoryBytes":1.5}', /line 7 .*memoryBytes/],
    ['{"op":"alloc","id":"a","numa":"always"}', /line 7 .*numa/],
    ['{"op":"free","id":"a","cpus":4}', /line 7 .*cpus/],
  ] as const) {
    t.throws(() => parseTraceLine(line, 7), { code: 'INVALID_REQUEST', message }, line);
  }
});
