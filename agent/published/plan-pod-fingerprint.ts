// The fingerprint of a set of pods, by which scheduler-plugins see whether an object already shows the pods that they know
// of. Pure. Source: github.com/k8stopologyawareschedwg/podfingerprint, version v001.
import { xxhash64 } from '../../lib/xxhash64.ts';

interface NamedPod {
  readonly namespace: string;
  readonly name: string;
}

const PREFIX = 'pfp0v001';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function littleEndian(numbers: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, number] of numbers.entries()) view.setBigUint64(index * 8, number, true);
  return bytes;
}

/** The same whatever the order of the pods: each is hashed, its namespace being the seed, and the sorted hashes again. */
export function podFingerprint(pods: readonly NamedPod[]): string {
  const hashes = pods.map(({ namespace, name }) => xxhash64(encode(name), xxhash64(encode(namespace))));
  const sorted = hashes.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return `${PREFIX}${xxhash64(littleEndian(sorted)).toString(16).padStart(16, '0')}`;
}
