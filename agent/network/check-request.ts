// What may be asked of a store of addresses: the same limits on every store, so that what works on one host works in a
// cluster. Pure.
import { HoldfastError } from '../../lib/errors.ts';
import { MAX_CHANGE_KEYS, MAX_VALUE_BYTES, type StoreChange, type StoreKey } from './lease-store.ts';

/** Of one read: as many operations as etcd takes in a transaction by default. */
export const MAX_READ_KEYS = 128;
/** The embedded store's limit; etcd has none. */
export const MAX_KEY_BYTES = 512;
/** All keys and values of one change. etcd takes requests of 1.5 MiB by default. */
export const MAX_CHANGE_BYTES = 1024 * 1024;

/** Two parts at least, of printable ASCII (see storeKey). */
const KEY = /^[!-.0-~]+(?:\/[!-.0-~]+)+$/;
const FOLDER = /^[!-.0-~]+(?:\/[!-.0-~]+)*$/;
const LONE_SURROGATE = /\p{Cs}/u;

const refuse = (what: string): never => {
  throw new HoldfastError('INVALID_REQUEST', `${what}; the store of addresses cannot take that`);
};

function checkKey(key: string): void {
  if (key.length > MAX_KEY_BYTES) refuse(`the key ${key.slice(0, 80)}… has more than ${MAX_KEY_BYTES} bytes`);
  if (!KEY.test(key)) refuse(`${JSON.stringify(key)} is no key`);
}

/** @returns its length in bytes */
function checkValue(key: string, value: string): number {
  const bytes = Buffer.byteLength(value);
  if (bytes > MAX_VALUE_BYTES) refuse(`the record ${key} has ${bytes} bytes, more than ${MAX_VALUE_BYTES}`);
  // They cannot be written as UTF-8, and would come back as something else.
  if (LONE_SURROGATE.test(value)) refuse(`the record ${key} has half of a character`);
  return bytes;
}

/** @throws HoldfastError INVALID_REQUEST */
export function checkRead(keys: readonly StoreKey[]): void {
  if (keys.length > MAX_READ_KEYS) refuse(`${keys.length} keys are to be read at once, more than ${MAX_READ_KEYS}`);
  for (const key of keys) checkKey(key);
}

/** @throws HoldfastError INVALID_REQUEST */
export function checkList(folder: string, limit: number): void {
  if (!FOLDER.test(folder)) refuse(`${JSON.stringify(folder)} is no folder`);
  if (!Number.isSafeInteger(limit) || limit < 1) refuse(`${limit} keys are to be listed`);
}

/** @throws HoldfastError INVALID_REQUEST */
export function checkChange({ expect, write }: StoreChange): void {
  for (const [what, { size }] of [['expects', expect] as const, ['writes', write] as const]) {
    if (size > MAX_CHANGE_KEYS) refuse(`a change ${what} ${size} keys, more than ${MAX_CHANGE_KEYS}`);
  }
  let bytes = 0;
  for (const key of expect.keys()) {
    checkKey(key);
    bytes += key.length;
  }
  for (const [key, value] of write) {
    checkKey(key);
    bytes += key.length + (value === undefined ? 0 : checkValue(key, value));
  }
  if (bytes > MAX_CHANGE_BYTES) refuse(`a change has ${bytes} bytes, more than ${MAX_CHANGE_BYTES}`);
}
