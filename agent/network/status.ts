// Lines for `holdfast status`.
import type { StatusLine } from '../lifecycle/feature.ts';
import type { Seen } from './collect.ts';
import type { CustodyState } from './custody.ts';

const SUBJECT = 'network';

/**
 * @param seen - undefined before the first look
 * @param problem - why pods cannot go out with the host's address
 * @param custody - undefined where no other host uses the store
 */
export function statusLines(
  pools: number,
  seen: Seen | undefined,
  problem: string | undefined,
  custody: CustodyState | undefined,
): readonly StatusLine[] {
  const text = `${pools} pools; ${seen === undefined ? 'not looked at yet' : `${seen.attachments} interfaces of pods`}`;
  const lines: StatusLine[] = [{ subject: SUBJECT, level: 'ok', text }];
  if (seen !== undefined && seen.questioned > 0) {
    const why =
      'of interfaces whose sandboxes the runtime does not know; they are collected when no process is left there';
    lines.push({ subject: SUBJECT, level: 'warning', text: `${seen.questioned} ${why}` });
  }
  if (problem !== undefined) lines.push({ subject: SUBJECT, level: 'failed', text: `masquerading: ${problem}` });
  return [...lines, ...custodyLines(custody)];
}

function custodyLines(state: CustodyState | undefined): readonly StatusLine[] {
  if (state === undefined) return [];
  const { hasLease, down, untold } = state;
  const lease: StatusLine = hasLease
    ? { subject: SUBJECT, level: 'ok', text: 'this host has its lease in etcd' }
    : {
        subject: SUBJECT,
        level: 'failed',
        text: 'this host has no lease in etcd: pods with ip: keep are cut off, and new pods wait; see the log for why',
      };
  const lines = [lease];
  if (down > 0) lines.push({ subject: SUBJECT, level: 'warning', text: `${down} interfaces are taken down` });
  if (untold > 0) {
    lines.push({
      subject: SUBJECT,
      level: 'warning',
      text: `${untold} changes of addresses etcd has not been told yet`,
    });
  }
  return lines;
}
