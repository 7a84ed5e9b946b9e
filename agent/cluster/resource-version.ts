// The API server's resource versions: which of two states of the cluster is the older one. Pure.

/** API servers over etcd count; others may do as they like. */
const COUNTED = /^\d{1,20}$/;

/**
 * Whether a version stands for an older state than another.
 * @returns undefined where the two cannot be compared; then nothing may be concluded from either
 */
export function isOlder(version: string, than: string): boolean | undefined {
  if (!COUNTED.test(version) || !COUNTED.test(than)) return undefined;
  return BigInt(version) < BigInt(than);
}
