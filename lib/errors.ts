// The one error class of the project: what, why, what to do, under a code that stays the same between versions.
import { status } from '@grpc/grpc-js';

/**
 * Stable codes and the gRPC status that each becomes on its way to the kubelet or a CLI. The kubelet retries all of
 * them with back-off; the status tells people and other programs whether that can help.
 */
export const ERROR_STATUS = {
  /** The pod, the command line or a file asks for something that is never valid. */
  INVALID_REQUEST: status.INVALID_ARGUMENT,
  /** The configuration cannot be used. */
  INVALID_CONFIG: status.FAILED_PRECONDITION,
  /** The namespace is not granted what the pod asks for. */
  NOT_GRANTED: status.PERMISSION_DENIED,
  /** The host has no room for what was asked now; it may have later. */
  NO_ROOM: status.RESOURCE_EXHAUSTED,
  /** What was named does not exist. */
  NOT_FOUND: status.NOT_FOUND,
  /** The state of the host or the runtime forbids it; the message says what to change. */
  PRECONDITION: status.FAILED_PRECONDITION,
  /** The agent is not ready, or the runtime does not answer; trying again helps. */
  UNAVAILABLE: status.UNAVAILABLE,
  /** Time ran out. */
  DEADLINE: status.DEADLINE_EXCEEDED,
  /** The runtime, the kernel or the disk answered with an error. */
  HOST_FAILURE: status.INTERNAL,
  /** The store or a file of ours is damaged. */
  DAMAGED: status.DATA_LOSS,
  /** A mistake in Holdfast itself. */
  BUG: status.INTERNAL,
  /** This version, runtime or kernel cannot do it. */
  UNSUPPORTED: status.UNIMPLEMENTED,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

/** An error whose message was written for the person who has to act on it. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;

  /**
   * @param code - stable code, see {@link ERROR_STATUS}
   * @param message - what was asked, why it cannot be, what to do; one sentence or two, no trailing newline
   * @param options - `cause`: the error below this one, kept for the log
   */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The message of anything that was thrown, causes included, on one line. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `: ${describeError(error.cause)}`;
  return `${error.message}${cause}`.replaceAll('\n', ' ');
}

/** Narrows to Node's system errors with one of the errno names, such as `ENOENT`. */
export function isErrno(error: unknown, ...codes: readonly [string, ...string[]]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}
