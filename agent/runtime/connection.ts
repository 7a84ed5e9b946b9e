// The channel to the runtime's socket: every call has a deadline, can be cancelled, and fails with an error of ours.
import type { DescMethod, MessageShape } from '@bufbuild/protobuf';
import { type Client, connectivityState, status } from '@grpc/grpc-js';
import { type ErrorCode, HoldfastError } from '../../lib/errors.ts';
import { callUnary, connectUnix, isServiceError } from '../../lib/grpc-client.ts';

export type UnaryMethod = DescMethod & { readonly methodKind: 'unary' };

export interface RuntimeCall {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Full service name when it differs from the descriptor's (runtime.v1alpha2). */
  readonly servicePath?: string;
}

export interface RuntimeConnection {
  readonly socketPath: string;
  /** Whether the connection stands. After it broke this is false until the next call has made a new one. */
  isConnected(): boolean;
  /**
   * @throws HoldfastError NOT_FOUND, UNSUPPORTED (no such service), UNAVAILABLE (no connection, no answer in time) or
   * HOST_FAILURE, with the gRPC error as its cause; the signal's reason when the caller gave up
   */
  call<Method extends UnaryMethod>(
    method: Method,
    request: MessageShape<Method['input']>,
    options: RuntimeCall,
  ): Promise<MessageShape<Method['output']>>;
  close(): void;
}

const CODES: ReadonlyMap<status, ErrorCode> = new Map([
  [status.NOT_FOUND, 'NOT_FOUND'],
  [status.UNIMPLEMENTED, 'UNSUPPORTED'],
  [status.UNAVAILABLE, 'UNAVAILABLE'],
  [status.DEADLINE_EXCEEDED, 'UNAVAILABLE'],
]);

/** Opens the channel; nothing is connected before the first call. */
export function openConnection(socketPath: string): RuntimeConnection {
  const client: Client = connectUnix(socketPath);
  return {
    socketPath,
    isConnected: () => client.getChannel().getConnectivityState(false) === connectivityState.READY,
    call: async (method, request, options) => {
      try {
        return await callUnary(client, method, request, options);
      } catch (error) {
        if (!isServiceError(error)) throw error;
        const code = CODES.get(error.code) ?? 'HOST_FAILURE';
        const what = code === 'UNAVAILABLE' ? 'does not answer' : 'refused';
        throw new HoldfastError(
          code,
          `the container runtime at ${socketPath} ${what} ${method.name}: ${error.details}`,
          { cause: error },
        );
      }
    },
    close: () => client.close(),
  };
}

/** Narrows to an error of ours with one of the codes. */
export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): error is HoldfastError {
  return error instanceof HoldfastError && codes.includes(error.code);
}

/** Narrows to the runtime's answer that something of that name exists. */
export function isAlreadyThere(error: unknown): boolean {
  return error instanceof HoldfastError && isServiceError(error.cause, status.ALREADY_EXISTS);
}

/** The answer, or undefined when the runtime knows nothing by that name. */
export async function unlessMissing<Result>(answer: Promise<Result>): Promise<Result | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}
