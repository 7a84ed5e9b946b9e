// Lines for `holdfast status`.
import type { StatusLine } from '../lifecycle/feature.ts';
import type { Seen } from './collect.ts';

const SUBJECT = 'network';

/**
 * @param seen - undefined before the first look
 * @param problem - why pods cannot go out with the host's address
 */
export function statusLines(pools: number, seen: Seen | undefined, problem: string | undefined): readonly StatusLine[] {
  const text = `${pools} pools; ${seen === undefined ? 'not looked at yet' : `${seen.attachments} interfaces of pods`}`;
  const lines: StatusLine[] = [{ subject: SUBJECT, level: 'ok', text }];
  if (seen !== undefined && seen.questioned > 0) {
    const why =
      'of interfaces whose sandboxes the runtime does not know; they are collected when no process is left there';
    lines.push({ subject: SUBJECT, level: 'warning', text: `${seen.questioned} ${why}` });
  }
  if (problem !== undefined) lines.push({ subject: SUBJECT, level: 'failed', text: `masquerading: ${problem}` });
  return lines;
}
