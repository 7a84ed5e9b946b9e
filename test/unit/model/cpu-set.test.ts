import fc from 'fast-check';
import t from 'tap';
import { CpuSet } from '../../../agent/model/cpu-set.ts';

const numbers = fc.array(fc.nat({ max: 300 }), { maxLength: 60 });

t.test('reads and writes the kernel list format', async (t) => {
  t.equal(CpuSet.parse('0-3,8').toString(), '0-3,8');
  t.equal(CpuSet.parse('8,3,2,1,0\n').toString(), '0-3,8');
  t.equal(CpuSet.parse('').size, 0);
  t.same([...CpuSet.parse('1,1-2')], [1, 2]);
  t.equal(JSON.stringify({ cpus: CpuSet.of(4, 5) }), '{"cpus":"4-5"}');
});

t.test('refuses what is not a list', async (t) => {
  for (const text of ['a', '1-', '-1', '3-1', '1,,2', '0-99999999', '0x1', '1 2', '1048576']) {
    t.throws(() => CpuSet.parse(text), { code: 'INVALID_REQUEST' }, text);
  }
});

t.test('text and set are two forms of the same thing', async () => {
  fc.assert(
    fc.property(numbers, (members) => {
      const set = CpuSet.from(members);
      return CpuSet.parse(set.toString()).equals(set);
    }),
  );
});

t.test('behaves as sets do', async () => {
  fc.assert(
    fc.property(numbers, numbers, (left, right) => {
      const a = CpuSet.from(left);
      const b = CpuSet.from(right);
      const both = a.intersect(b);
      return (
        a.minus(b).union(both).equals(a) &&
        both.isSubsetOf(a) &&
        both.isSubsetOf(b) &&
        a.overlaps(b) === !both.isEmpty &&
        a.union(b).size === a.size + b.size - both.size &&
        a.union(b).equals(b.union(a))
      );
    }),
  );
});
