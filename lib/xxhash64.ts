// XXH64, the hash of pod-set fingerprints. Other programs compare what it gives, so it must be this hash; the packages that
// have it bring WebAssembly or native code, for what are a few dozen short names here.
// Specification: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

function rotate(value: bigint, bits: bigint): bigint {
  return wrap((value << bits) | (value >> (64n - bits)));
}

function round(accumulator: bigint, lane: bigint): bigint {
  return wrap(rotate(wrap(accumulator + lane * P2), 31n) * P1);
}

function merge(hash: bigint, accumulator: bigint): bigint {
  return wrap((hash ^ round(0n, accumulator)) * P1 + P4);
}

/** The whole stripes of 32 bytes. */
function stripes(view: DataView, seed: bigint, end: number): bigint {
  let [a, b, c, d] = [wrap(seed + P1 + P2), wrap(seed + P2), seed, wrap(seed - P1)];
  for (let at = 0; at < end; at += 32) {
    a = round(a, view.getBigUint64(at, true));
    b = round(b, view.getBigUint64(at + 8, true));
    c = round(c, view.getBigUint64(at + 16, true));
    d = round(d, view.getBigUint64(at + 24, true));
  }
  const hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
  return merge(merge(merge(merge(hash, a), b), c), d);
}

/** @param seed - 0 to 2^64 - 1 */
export function xxhash64(data: Uint8Array, seed = 0n): bigint {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const { length } = data;
  let at = length - (length % 32);
  let hash = wrap((at === 0 ? wrap(seed + P5) : stripes(view, seed, at)) + BigInt(length));
  for (; at + 8 <= length; at += 8) {
    hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
  }
  if (at + 4 <= length) {
    hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
    at += 4;
  }
  for (; at < length; at += 1) {
    hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint8(at)) * P5), 11n) * P1);
  }
  hash = wrap((hash ^ (hash >> 33n)) * P2);
  hash = wrap((hash ^ (hash >> 29n)) * P3);
  return hash ^ (hash >> 32n);
}
