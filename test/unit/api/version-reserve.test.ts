// Versions of the topology service grow over restarts of the agent, lost stores and clocks that go back.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { VersionReserve } from '../../../agent/api/version-reserve.ts';
import { Changes } from '../../../lib/changes.ts';
import { MemoryStore } from '../../support/cpuset-node.ts';

const NOVEMBER_2026_MS = 1_795_000_000_000;

/** One life of an agent. */
function start(store: MemoryStore, now: number, problems: unknown[] = []) {
  const versions = new VersionReserve({ store, now: () => now, onProblem: (error) => problems.push(error) });
  versions.use(versions.first);
  const changes = new Changes({ first: versions.first, onVersion: (version) => versions.use(version) });
  return { versions, changes };
}

function change(changes: Changes, times: number): void {
  for (let count = 0; count < times; count += 1) changes.announce();
}

await t.test('a restarted agent goes on above what it had shown', async (t) => {
  const store = new MemoryStore();
  const first = start(store, NOVEMBER_2026_MS);
  change(first.changes, 1000);
  await first.versions.settled();
  t.ok(start(store, NOVEMBER_2026_MS + 100).changes.version > first.changes.version);
  t.ok(start(store, 0).changes.version > first.changes.version, 'with a clock that begins at 1970');
  t.ok(start(new MemoryStore(), NOVEMBER_2026_MS + 2000).changes.version > first.changes.version, 'without its store');
});

await t.test('the disk is written three times for a million changes', async (t) => {
  const store = new MemoryStore();
  const { versions, changes } = start(store, NOVEMBER_2026_MS);
  for (let round = 0; round < 10; round += 1) {
    change(changes, 100_000);
    await versions.settled();
  }
  t.equal(store.commits, 3, 'at the start, and whenever half of what is reserved was used');
  t.ok(start(store, 0).changes.version > changes.version);
});

await t.test('a disk that refuses stops nothing, and is asked again', async (t) => {
  const store = new MemoryStore();
  const problems: unknown[] = [];
  store.failure = new Error('disk full');
  const { versions, changes } = start(store, NOVEMBER_2026_MS, problems);
  await versions.settled();
  t.match(problems, [{ message: 'disk full' }]);
  change(changes, 99_999);
  await versions.settled();
  t.equal(store.commits, 0, 'not with every change');
  change(changes, 1);
  await versions.settled();
  t.equal(store.commits, 1);
  t.ok(start(store, 0).changes.version > changes.version);
});

await t.test('versions stay exact as numbers of JavaScript', (t) => {
  const { changes } = start(new MemoryStore(), NOVEMBER_2026_MS);
  t.ok(changes.version < BigInt(Number.MAX_SAFE_INTEGER));
  t.end();
});

await t.test('versions grow over any lives of an agent, as long as its store or its clock can be trusted', async () => {
  const life = fc.record({
    changes: fc.integer({ min: 0, max: 3000 }),
    // systemd starts it again after a second, in which the clock goes as far as what a start reserves.
    awayMs: fc.integer({ min: 1000, max: 100_000 }),
    lost: fc.constantFrom('nothing', 'the store', 'an hour of the clock'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 2, maxLength: 8 }), async (lives) => {
      let store = new MemoryStore();
      let now = NOVEMBER_2026_MS;
      let last = 0n;
      // A store that is lost while the clock is behind what was shown leaves nothing to go by.
      let clockIsBehind = false;
      for (const { changes: times, awayMs, lost } of lives) {
        now += awayMs;
        if (lost === 'the store' && !clockIsBehind) store = new MemoryStore();
        if (lost === 'an hour of the clock') {
          now -= 3_600_000;
          clockIsBehind = true;
        }
        const { versions, changes } = start(store, now);
        assert.ok(changes.version > last, `${changes.version} after ${last}`);
        change(changes, times);
        await versions.settled();
        last = changes.version;
        // No agent makes more changes than its clock has microseconds.
        now += Math.ceil(times / 1000);
      }
    }),
    { numRuns: 500 },
  );
});
