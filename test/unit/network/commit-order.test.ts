// Work in an order: what is in the way of each other never overlaps, in whatever order it ends or is given up.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { CommitOrder } from '../../../agent/network/commit-order.ts';
import { holdsAsync } from '../../support/properties.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('work in the way of each other follows in the order in which it came', async (t) => {
  const keys = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 2 });
  const job = fc.record({ reads: keys, writes: keys, ticks: fc.nat(3), fails: fc.boolean(), isGivenUp: fc.boolean() });
  const property = fc.asyncProperty(fc.array(job, { maxLength: 12 }), async (jobs) => {
    const order = new CommitOrder();
    const running = new Set<number>();
    const ended = new Set<number>();
    const inTheWay = (one: number, other: number): boolean => {
      const [first, second] = [jobs[one], jobs[other]];
      if (first === undefined || second === undefined) return false;
      const touches = [...second.reads, ...second.writes];
      return (
        first.writes.some((key) => touches.includes(key)) || second.writes.some((key) => first.reads.includes(key))
      );
    };
    const all = jobs.map(async ({ reads, writes, ticks, fails, isGivenUp }, index) => {
      const giving = new AbortController();
      const work = order.run(
        { reads, writes },
        async () => {
          for (const other of running) assert.ok(!inTheWay(other, index));
          for (let other = 0; other < index; other += 1) assert.ok(!inTheWay(other, index) || ended.has(other));
          running.add(index);
          for (let count = 0; count < ticks; count += 1) await tick();
          running.delete(index);
          ended.add(index);
          if (fails) throw new Error('failed');
        },
        giving.signal,
      );
      if (isGivenUp) giving.abort(new Error('given up'));
      try {
        await work;
      } catch (error) {
        assert.match(String(error), /failed|given up/);
      } finally {
        // Given up before it began: nobody has to wait for it, but for those before it.
        if (!running.has(index)) ended.add(index);
      }
    });
    await Promise.all(all);
  });
  await holdsAsync(t, 'never side by side, never out of turn', property, 300);
});
