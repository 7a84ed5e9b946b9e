// What quickstart prints: numbered steps, a tick for each claim that was verified, and what was seen.
import { styleText } from 'node:util';
import { HoldfastError } from '../../../lib/errors.ts';

export interface Report {
  /** Begins a numbered step. */
  step(title: string): void;
  /** A line of progress or explanation below the step. */
  note(text: string): void;
  /**
   * A claim and what was seen.
   * @throws HoldfastError PRECONDITION, which ends quickstart, when it does not hold
   */
  claim(holds: boolean, claim: string, seen: string): void;
  /** Text as it is, indented below the step. */
  block(text: string): void;
}

export interface ReportOptions {
  readonly write: (text: string) => void;
  readonly colour: boolean;
}

export function createReport({ write, colour }: ReportOptions): Report {
  const style = (format: 'bold' | 'green' | 'red' | 'dim', text: string): string =>
    colour ? styleText(format, text, { validateStream: false }) : text;
  let steps = 0;
  return {
    step: (title) => {
      steps += 1;
      write(`\n${style('bold', `${steps}. ${title}`)}\n`);
    },
    note: (text) => write(`   ${style('dim', text)}\n`),
    claim: (holds, claim, seen) => {
      write(`   ${holds ? style('green', '✓') : style('red', '✗')} ${claim}: ${seen}\n`);
      if (holds) return;
      throw new HoldfastError(
        'PRECONDITION',
        `quickstart saw something else than Holdfast promises: ${claim}: ${seen}`,
      );
    },
    block: (text) => write(`${text.trimEnd().replace(/^(?=.)/gm, '   ')}\n`),
  };
}
