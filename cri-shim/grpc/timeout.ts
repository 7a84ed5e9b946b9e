// The grpc-timeout header: how long the caller still waits (gRPC over HTTP/2, "Timeout").

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** More than eight digits are not allowed on the wire. */
const MAX_VALUE = 99_999_999;

/**
 * @param text - the header's value: one to eight digits and a unit
 * @returns milliseconds, or undefined where the header is absent or unreadable (the upstream then judges it)
 */
export function parseGrpcTimeout(text: string | undefined): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text ?? '');
  if (match === null) return undefined;
  return Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? Number.NaN);
}

/** @param ms - milliseconds; nothing left is written as zero, and parts of a millisecond are kept in microseconds */
export function formatGrpcTimeout(ms: number): string {
  const left = Math.max(0, ms);
  if (left * 1000 <= MAX_VALUE) return `${Math.floor(left * 1000)}u`;
  if (left <= MAX_VALUE) return `${Math.floor(left)}m`;
  return `${Math.min(MAX_VALUE, Math.floor(left / 1000))}S`;
}
