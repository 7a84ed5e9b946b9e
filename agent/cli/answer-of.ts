// What somebody answered, or why not: a look that fails is a finding of doctor's, and no end of it.
import { describeError } from '../../lib/errors.ts';
import type { Answer } from './doctor-checks/services.ts';

export async function answerOf<Value>(ask: () => Promise<Value>): Promise<Answer<Value>> {
  try {
    return { value: await ask() };
  } catch (error) {
    return { problem: describeError(error) };
  }
}
