// Kubernetes quantities ("100m", "1.5Gi", "1e3") into our units; for pod manifests and the configuration.
import { HoldfastError } from '../../lib/errors.ts';
import { type Bytes, bytes, type MilliCpu, milliCpu } from './quantity.ts';

/** As [numerator, denominator], so that thousandths stay exact. */
const SUFFIXES: ReadonlyMap<string, readonly [bigint, bigint]> = new Map([
  ['n', [1n, 10n ** 9n]],
  ['u', [1n, 10n ** 6n]],
  ['m', [1n, 10n ** 3n]],
  ['', [1n, 1n]],
  ['k', [10n ** 3n, 1n]],
  ['M', [10n ** 6n, 1n]],
  ['G', [10n ** 9n, 1n]],
  ['T', [10n ** 12n, 1n]],
  ['P', [10n ** 15n, 1n]],
  ['E', [10n ** 18n, 1n]],
  ['Ki', [1n << 10n, 1n]],
  ['Mi', [1n << 20n, 1n]],
  ['Gi', [1n << 30n, 1n]],
  ['Ti', [1n << 40n, 1n]],
  ['Pi', [1n << 50n, 1n]],
  ['Ei', [1n << 60n, 1n]],
]);

const QUANTITY = /^\+?(\d{0,20})(?:\.(\d{0,20}))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?$/;

/** `scale` units per 1, rounded up as Kubernetes does. */
function parseScaled(text: string, scale: bigint): number {
  const match = QUANTITY.exec(text.trim());
  const whole = match?.[1] ?? '';
  const fraction = match?.[2] ?? '';
  const [multiplier, divisor] = SUFFIXES.get(match?.[3] ?? '') ?? [1n, 1n];
  if (match === null || whole + fraction === '') {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `"${text.slice(0, 40)}" is not a quantity such as "500m", "2" or "20Gi"`,
    );
  }
  const exponent = BigInt(match[4] ?? '0');
  const numerator = BigInt(whole + fraction) * multiplier * scale * (exponent > 0n ? 10n ** exponent : 1n);
  const denominator = divisor * 10n ** BigInt(fraction.length) * (exponent < 0n ? 10n ** -exponent : 1n);
  const value = (numerator + denominator - 1n) / denominator;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new HoldfastError('INVALID_REQUEST', `"${text}" is larger than any host`);
  }
  return Number(value);
}

/**
 * A memory or disk quantity.
 * @returns whole bytes, fractions rounded up
 * @throws HoldfastError INVALID_REQUEST when it is not a quantity, is negative, or is over 2^53 bytes
 */
export function parseBytes(text: string): Bytes {
  return bytes(parseScaled(text, 1n));
}

/** As {@link parseBytes}, for CPU: `1` is 1000, `100m` is 100; fractions of a thousandth are rounded up. */
export function parseMilliCpu(text: string): MilliCpu {
  return milliCpu(parseScaled(text, 1000n));
}

/** The shortest quantity that {@link parseBytes} reads back as the same number: `20Gi`, `1536Mi`, `1000`. */
export function formatQuantity(value: Bytes): string {
  const units = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'] as const;
  let scaled: number = value;
  let unit = 0;
  while (scaled !== 0 && scaled % 1024 === 0 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${scaled}${units[unit]}`;
}
