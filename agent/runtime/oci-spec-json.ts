// The OCI runtime spec between JSON text and objects without losing a digit: JavaScript rounds integers beyond 2^53
// ("no limit" is 18446744073709551615), and containerd then refuses the whole spec. Pure.
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '../../lib/errors.ts';
import type { OciSpec } from './runtime.ts';

/** A string, or a number; strings are matched so that digits inside them are left alone. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** A spec as an object in which numbers that do not survive JavaScript stand as marked strings. */
export interface ReadSpec {
  readonly spec: OciSpec;
  /** JSON text of a spec derived from the one read; marked numbers come back digit by digit. */
  readonly write: (spec: OciSpec) => Uint8Array;
}

/** @throws HoldfastError HOST_FAILURE when the bytes are not a JSON object */
export function readSpecJson(json: Uint8Array): ReadSpec {
  // Unguessable, so that no annotation or argument of a pod can be taken for a number.
  const mark = `number ${randomUUID()} `;
  const text = new TextDecoder().decode(json);
  const marked = text.replaceAll(STRING_OR_NUMBER, (token) =>
    token.startsWith('"') || String(Number(token)) === token ? token : JSON.stringify(mark + token),
  );
  let value: unknown;
  try {
    value = JSON.parse(marked);
  } catch (cause) {
    throw new HoldfastError('HOST_FAILURE', 'the runtime spec of the container is not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HoldfastError('HOST_FAILURE', 'the runtime spec of the container is not a JSON object');
  }
  const unmark = new RegExp(`"${mark}([^"]*)"`, 'g');
  return {
    spec: value as OciSpec,
    write: (spec) => new TextEncoder().encode(JSON.stringify(spec).replaceAll(unmark, '$1')),
  };
}
