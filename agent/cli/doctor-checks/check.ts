// What a check of `holdfast doctor` says. Checks are pure functions over facts that were read before.

export interface Finding {
  readonly level: 'ok' | 'warning' | 'failed';
  /** What was looked at: the first column of the listing. */
  readonly subject: string;
  /** What was found, and why it matters; one sentence or two. */
  readonly text: string;
  /** What to do, step by step; absent when there is nothing to do. */
  readonly remedy?: string;
}
