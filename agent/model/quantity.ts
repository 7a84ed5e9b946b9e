// Units of what pods ask for and hosts have.
import type { Brand } from '../../lib/brand.ts';

/** Thousandths of a CPU, as in a pod's `500m`. */
export type MilliCpu = Brand<number, 'MilliCpu'>;
export type Bytes = Brand<number, 'Bytes'>;

export const milliCpu = (value: number): MilliCpu => value as MilliCpu;
export const bytes = (value: number): Bytes => value as Bytes;

const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `1.5 GiB`: for people, at most one decimal. */
export function formatBytes(value: Bytes): string {
  let scaled: number = value;
  let unit = 0;
  while (scaled >= 1024 && unit < BINARY_UNITS.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${Number(scaled.toFixed(1))} ${BINARY_UNITS[unit]}`;
}
