// fast-check inside tap: a property that does not hold fails the test with its smallest counterexample.
import fc from 'fast-check';
import type { Test } from 'tap';

/** Property bodies assert with node:assert: fast-check needs them to throw. */
export function holds<Ts>(t: Test, name: string, property: fc.IProperty<Ts>, numRuns: number): void {
  const outcome = fc.check(property, { numRuns });
  if (!outcome.failed) t.pass(`${name} (${outcome.numRuns} runs)`);
  else t.fail(`${name}: ${fc.defaultReportMessage(outcome)}`);
}
