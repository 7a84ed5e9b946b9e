// Lines for `holdfast status`.
import type { StatusLine } from '../lifecycle/feature.ts';
import { bytes, formatBytes } from '../model/quantity.ts';
import type { ReuseContext } from './context.ts';

const SUBJECT = 'reuse';
/** Warnings of the last day are shown. */
const NOTICES_WITHIN_MS = 24 * 60 * 60 * 1000;

/** How many layers there are, what is unfinished, and the latest warnings. */
export function statusLines({ book, notices, options }: ReuseContext): readonly StatusLine[] {
  const { attached, kept, keptBytes } = book.totals();
  const budget = formatBytes(bytes(options.budgetBytes));
  const counts = `${attached} layers attached, ${kept} kept (${formatBytes(keptBytes)} of ${budget})`;
  const unfinished = book.allEntries().size;
  return [
    { subject: SUBJECT, level: 'ok', text: counts },
    ...(unfinished === 0
      ? []
      : [
          {
            subject: SUBJECT,
            level: 'warning',
            text: `${unfinished} unfinished changes wait for the runtime`,
          } as const,
        ]),
    ...notices.recent(NOTICES_WITHIN_MS).map(
      ({ at, text }): StatusLine => ({
        subject: SUBJECT,
        level: 'warning',
        text: `${new Date(at).toISOString()} ${text}`,
      }),
    ),
  ];
}
