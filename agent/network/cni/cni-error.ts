// Errors for whom our own codes are too coarse: CNI tells a bad variable from bad JSON from a bad configuration.
import { type ErrorCode, HoldfastError } from '../../../lib/errors.ts';
import { CNI_CODES } from './request.ts';

/** CNI specification 1.1.0, section 5, "Error"; `INVALID_NETNS` is libcni's. Codes of 100 and above are ours. */
export const CNI_ERROR = {
  INCOMPATIBLE_VERSION: 1,
  /** The message must contain key and value. */
  UNSUPPORTED_FIELD: 2,
  /** Tells the runtime that it need not clean up. */
  UNKNOWN_CONTAINER: 3,
  /** The message must contain the names of the variables. */
  INVALID_ENVIRONMENT: 4,
  IO_FAILURE: 5,
  UNDECODABLE: 6,
  INVALID_CONFIG: 7,
  INVALID_NETNS: 8,
  TRY_AGAIN_LATER: 11,
  /** ADD would fail. */
  NOT_AVAILABLE: 50,
  /** ADD would fail, and what is there already is impaired. */
  IMPAIRED: 51,
} as const;

export type CniErrorCode = (typeof CNI_ERROR)[keyof typeof CNI_ERROR];

/** A HoldfastError that says itself which of CNI's codes it becomes; handlers may throw it, too. */
export class CniError extends HoldfastError {
  readonly cniCode: CniErrorCode;

  /** @param code - ours, which leads the message */
  constructor(cniCode: CniErrorCode, code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options);
    this.cniCode = cniCode;
  }
}

/** CNI's code of whatever was thrown; what is no HoldfastError is a mistake of ours. */
export function cniCodeOf(error: unknown): number {
  if (error instanceof CniError) return error.cniCode;
  return error instanceof HoldfastError ? CNI_CODES[error.code] : CNI_CODES.BUG;
}

/** A value from outside for a message: quoted, escaped, and not longer than a line. */
export function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : kindOf(value);
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return typeof value === 'string' ? JSON.stringify(shown) : shown;
}

/** Objects and arrays are not printed: they may be as large and as deep as the request. */
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value);
}
