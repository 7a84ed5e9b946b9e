// fast-check inside tap: a property that does not hold fails the test with its smallest counterexample.
import fc from 'fast-check';
import type { Test } from 'tap';

/** Property bodies assert with node:assert: fast-check needs them to throw. */
export function holds<Ts>(t: Test, name: string, property: fc.IProperty<Ts>, numRuns: number): void {
  const outcome = fc.check(property, { numRuns });
  if (!outcome.failed) t.pass(`${name} (${outcome.numRuns} runs)`);
  else t.fail(`${name}: ${String(outcome.errorInstance)} ${fc.defaultReportMessage(outcome)}`);
}

/** {@link holds} for bodies that wait. */
export async function holdsAsync<Ts>(
  t: Test,
  name: string,
  property: fc.IAsyncProperty<Ts>,
  numRuns: number,
): Promise<void> {
  const outcome = await fc.check(property, { numRuns });
  if (!outcome.failed) t.pass(`${name} (${outcome.numRuns} runs)`);
  else t.fail(`${name}: ${await fc.asyncDefaultReportMessage(outcome)}`);
}
