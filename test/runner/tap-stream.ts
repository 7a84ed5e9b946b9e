// From tap's raw output to test points, one test file at a time as each ends.
import { Parser, type Result } from 'tap-parser';
import type { TestPoint } from './results.ts';

/** tap-parser gives `true` for a directive without a text, `false` for none. */
function directive(value: boolean | string): string | undefined {
  if (value === false) return undefined;
  return value === true ? '' : value;
}

function toPoint(result: Result, points: readonly TestPoint[] | undefined): TestPoint {
  const skip = directive(result.skip);
  const todo = directive(result.todo);
  const diagnostics: unknown = result.diag;
  return {
    name: result.name,
    ok: result.ok,
    ...(skip !== undefined && { skip }),
    ...(todo !== undefined && { todo }),
    ...(diagnostics !== null && diagnostics !== undefined && { diagnostics }),
    ...(points !== undefined && { points }),
  };
}

/** Calls `each` for every test point of this level, when it is complete. */
function follow(parser: Parser, each: (point: TestPoint) => void): void {
  let subtest: TestPoint[] | undefined;
  parser.on('child', (child: Parser) => {
    const points: TestPoint[] = [];
    subtest = points;
    follow(child, (point) => points.push(point));
  });
  parser.on('assert', (result: Result) => {
    const points = subtest;
    subtest = undefined;
    each(toPoint(result, points));
  });
}

/** A writable stream for raw TAP. */
export function tapStream(onFile: (file: TestPoint) => void): Parser {
  const parser = new Parser();
  follow(parser, onFile);
  return parser;
}
