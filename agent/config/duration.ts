// Durations in the configuration: "500ms", "10s", "5m", "1h30m", "7d".
import type { Brand } from '../../lib/brand.ts';
import { HoldfastError } from '../../lib/errors.ts';

export type Milliseconds = Brand<number, 'Milliseconds'>;

export const milliseconds = (value: number): Milliseconds => value as Milliseconds;

/** Longest first, as they stand in a duration. */
const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

const DURATION = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/;

/** @throws HoldfastError INVALID_REQUEST when it is not a duration, or is over 100 years */
export function parseDuration(text: string): Milliseconds {
  const match = DURATION.exec(text.trim());
  if (match === null || match[0] === '') {
    throw new HoldfastError('INVALID_REQUEST', `"${text.slice(0, 40)}" is not a duration such as "10s", "5m" or "7d"`);
  }
  const total = UNITS.reduce((sum, [, size], index) => sum + Number(match[index + 1] ?? 0) * size, 0);
  if (total > 36_525 * 86_400_000) throw new HoldfastError('INVALID_REQUEST', `"${text}" is over 100 years`);
  return milliseconds(total);
}

/** What {@link parseDuration} reads back as the same number: `7d`, `1h30m`, `0s`. */
export function formatDuration(value: Milliseconds): string {
  let rest: number = value;
  let text = '';
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}
