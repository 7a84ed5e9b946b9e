import t from 'tap';
import { closingLine, type Summary, summarizeFile, type TestPoint, total } from '../../runner/results.ts';
import { tapStream } from '../../runner/tap-stream.ts';

/** The summaries of the files in a raw TAP stream. */
function summariesOf(tap: string): readonly Summary[] {
  const files: TestPoint[] = [];
  const parser = tapStream((file) => files.push(file));
  parser.end(tap);
  return files.map((file) => summarizeFile(file));
}

const MIXED = `TAP version 14
# Subtest: a.test.ts
    # Subtest: outer
        ok 1 - an assertion beside a subtest
        # Subtest: inner
            ok 1 - one
            ok 2 - two
            1..2
        ok 2 - inner # time=6.5ms
        1..2
    ok 1 - outer # time=20.9ms
    ok 2 - without data # SKIP the folder is absent
    ok 3 - without a reason # SKIP
    not ok 4 - later # TODO some day
    # Subtest: wrong
        not ok 1 - should be equal
          ---
          diff: |
            -2
            +1
          ...
        1..1
    not ok 5 - wrong # time=36ms
    1..5
not ok 1 - a.test.ts # time=83ms
# Subtest: b.test.ts
    ok 1 - only assertions
    ok 2 - in this file
    1..2
ok 2 - b.test.ts
# Subtest: c.test.ts
    1..0 # no data here
ok 3 - c.test.ts # SKIP no data here
1..3
`;

t.test('counts the innermost tests and names what failed', async (t) => {
  const summary = total(summariesOf(MIXED));
  t.equal(summary.passed, 2, 'inner, and the file b as one');
  t.strictSame(summary.skipped, [
    { name: 'a.test.ts > without data', reason: 'the folder is absent' },
    { name: 'c.test.ts', reason: 'no data here' },
  ]);
  t.strictSame(
    summary.failures.map(({ name }) => name),
    [
      'a.test.ts > without a reason: skipped without a reason',
      'a.test.ts > later: marked todo; finish it or remove it',
      'a.test.ts > wrong > should be equal',
    ],
  );
  t.match(summary.failures[2]?.diagnostics, { diff: '-2\n+1\n' });
  t.equal(closingLine(summary), '2 passed, 3 failed, 2 skipped');
});

t.test('a file that fails without a failing test still fails', async (t) => {
  const [crashed] = summariesOf(
    'TAP version 14\n# Subtest: x\n    ok 1 - fine\n    1..1\nnot ok 1 - x\n  ---\n  exitCode: 7\n  ...\n1..1\n',
  );
  t.equal(crashed?.failures[0]?.name, 'x');
  t.match(crashed?.failures[0]?.diagnostics, { exitCode: 7 });
});

t.test('a crash beside passing subtests shows too', async (t) => {
  const file: TestPoint = {
    name: 'x',
    ok: false,
    diagnostics: { signal: 'SIGKILL' },
    points: [{ name: 'sub', ok: true, points: [{ name: 'assertion', ok: true }] }],
  };
  t.equal(closingLine(summarizeFile(file)), '1 passed, 1 failed, 0 skipped');
});

t.test('a file in which nothing is tested has failed', async (t) => {
  const [empty] = summariesOf('TAP version 14\n# Subtest: x\n    1..0\nok 1 - x\n1..1\n');
  t.strictSame(empty?.failures, [{ name: 'x: ran no test' }]);
});
