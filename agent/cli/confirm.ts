// Asks the person at the terminal before something is lost.
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import { HoldfastError } from '../../lib/errors.ts';

export interface ConfirmOptions {
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Writable;
  readonly signal: AbortSignal;
}

/** @throws HoldfastError PRECONDITION unless a person says yes */
export async function confirm(question: string, { input, output, signal }: ConfirmOptions): Promise<void> {
  if (input.isTTY !== true) {
    throw new HoldfastError('PRECONDITION', 'nothing was changed: there is no terminal to ask at; say --yes instead');
  }
  const terminal = createInterface({ input, output });
  // ^D, ^C and a terminal that goes close it; the question itself would wait for ever.
  const closed = new AbortController();
  terminal.once('close', () => closed.abort());
  try {
    const answer = await terminal.question(question, { signal: AbortSignal.any([signal, closed.signal]) });
    if (answer.trim() !== 'yes') throw new HoldfastError('PRECONDITION', 'nothing was changed: the answer was not yes');
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    // What readline rejects with says nothing beyond this.
    throw new HoldfastError('PRECONDITION', 'nothing was changed: there was no answer');
  } finally {
    terminal.close();
  }
}
