// Between our errors and gRPC statuses. The stable code leads the message, where kubectl describe shows it and
// people can search for it.
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describeError, ERROR_STATUS, type ErrorCode, HoldfastError } from './errors.ts';

/** Status and message for a caller. Anything but a HoldfastError is a mistake of ours or of a library: INTERNAL. */
export function toStatus(error: unknown): { readonly code: status; readonly details: string } {
  if (error instanceof HoldfastError) {
    return { code: ERROR_STATUS[error.code], details: `holdfast ${error.code}: ${describeError(error)}` };
  }
  if (error instanceof Error && error.name === 'AbortError') {
    return { code: status.CANCELLED, details: 'holdfast: the caller gave up' };
  }
  return { code: status.INTERNAL, details: `holdfast BUG: ${describeError(error)}` };
}

/** {@link toStatus} in the shape that grpc-js handlers hand to their callback. */
export function toServiceError(error: unknown): ServiceError {
  return Object.assign(new Error(describeError(error), { cause: error }), {
    ...toStatus(error),
    metadata: new Metadata(),
  });
}

/** The HoldfastError that a server of ours sent, rebuilt from the message; anything else becomes UNAVAILABLE or HOST_FAILURE. */
export function fromServiceError(error: ServiceError, peer: string): HoldfastError {
  const match = /^holdfast ([A-Z_]+): ([\s\S]*)$/.exec(error.details);
  const code = match?.[1];
  if (code !== undefined && code in ERROR_STATUS) {
    return new HoldfastError(code as ErrorCode, match?.[2] ?? error.details, { cause: error });
  }
  const away = error.code === status.UNAVAILABLE || error.code === status.DEADLINE_EXCEEDED;
  return new HoldfastError(away ? 'UNAVAILABLE' : 'HOST_FAILURE', `${peer}: ${error.details}`, { cause: error });
}
