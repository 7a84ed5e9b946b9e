// The structure at the beginning of an rtnetlink message.
import { HoldfastError } from '../../../../lib/errors.ts';

/** The first bytes. @throws HoldfastError HOST_FAILURE when there are fewer */
export function headerOf(payload: Buffer, length: number): Buffer {
  if (payload.length < length) {
    throw new HoldfastError(
      'HOST_FAILURE',
      `an rtnetlink message of ${payload.length} bytes has no header of ${length}`,
    );
  }
  return payload.subarray(0, length);
}
