// What a run of the tests came to: counts, skip reasons and failures, from the tree of TAP results. Pure.

/** A test point as TAP has it: one assertion, or the closing line of a subtest together with what is in it. */
export interface TestPoint {
  readonly name: string;
  readonly ok: boolean;
  /** The reason; the empty string when none was given. */
  readonly skip?: string;
  /** Same for a test that is expected to fail. */
  readonly todo?: string;
  /** What TAP said of a failure: location, difference, stack. */
  readonly diagnostics?: unknown;
  /** Undefined for an assertion. */
  readonly points?: readonly TestPoint[];
}

export interface Failure {
  /** From the file down to the assertion, joined by " > ". */
  readonly name: string;
  readonly diagnostics?: unknown;
}

export interface Summary {
  readonly passed: number;
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  readonly failures: readonly Failure[];
}

const NOTHING: Summary = { passed: 0, skipped: [], failures: [] };

function failed(name: string, diagnostics?: unknown): Summary {
  return { ...NOTHING, failures: [{ name, ...(diagnostics !== undefined && { diagnostics }) }] };
}

function add(a: Summary, b: Summary): Summary {
  return {
    passed: a.passed + b.passed,
    skipped: [...a.skipped, ...b.skipped],
    failures: [...a.failures, ...b.failures],
  };
}

/** The assertion that made a test fail: the first one, as deep as it is. */
function culprit(point: TestPoint, name: string): Failure {
  const inner = point.points?.find(({ ok, todo }) => !ok && todo === undefined);
  if (inner !== undefined) return culprit(inner, `${name} > ${inner.name}`);
  return { name, ...(point.diagnostics !== undefined && { diagnostics: point.diagnostics }) };
}

/**
 * Counts tests: a subtest that has no subtests of its own is one, whatever it asserts. A skipped test without a reason
 * is a failure, and so are a test marked "todo" and a file in which nothing was tested.
 */
export function summarize(point: TestPoint, name: string = point.name): Summary {
  if (point.todo !== undefined) return failed(`${name}: marked todo; finish it or remove it`);
  if (point.skip !== undefined) {
    if (point.skip.trim() === '') return failed(`${name}: skipped without a reason`);
    return { ...NOTHING, skipped: [{ name, reason: point.skip }] };
  }
  const points = point.points ?? [];
  const inner = points.filter(
    ({ points: deeper, skip, todo }) => deeper !== undefined || skip !== undefined || todo !== undefined,
  );
  const summary = inner.reduce((sum, each) => add(sum, summarize(each, `${name} > ${each.name}`)), NOTHING);
  if (inner.length === 0)
    return point.ok ? { ...NOTHING, passed: 1 } : { ...NOTHING, failures: [culprit(point, name)] };
  // Assertions beside subtests are not counted; when one fails and no subtest does, the failure must still show.
  if (!point.ok && summary.failures.length === 0) return add(summary, { ...NOTHING, failures: [culprit(point, name)] });
  return summary;
}

/** A file of tests: as {@link summarize}, but one that asserts nothing at all has failed. */
export function summarizeFile(file: TestPoint): Summary {
  const empty = file.ok && file.skip === undefined && (file.points ?? []).length === 0;
  return empty ? failed(`${file.name}: ran no test`) : summarize(file);
}

export function total(summaries: readonly Summary[]): Summary {
  return summaries.reduce(add, NOTHING);
}

/** The closing line that people and CI read. */
export function closingLine({ passed, failures, skipped }: Summary): string {
  return `${passed} passed, ${failures.length} failed, ${skipped.length} skipped`;
}
