// Unary and server-streaming calls of grpc-js as promises: cancelled by an AbortSignal, always with a deadline.
import type { DescMethod, MessageShape } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError, type status } from '@grpc/grpc-js';
import { HoldfastError } from './errors.ts';
import { LOCAL_CHANNEL_OPTIONS, methodDefinition } from './grpc.ts';

export interface CallOptions {
  /** Milliseconds until the call is given up. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Full service name when it differs from the descriptor's (runtime.v1alpha2). */
  readonly servicePath?: string;
}

/** A client for a unix socket; it connects at the first call and again whenever it has to. */
export function connectUnix(socketPath: string): Client {
  return new Client(`unix:${socketPath}`, credentials.createInsecure(), LOCAL_CHANNEL_OPTIONS);
}

/**
 * Calls a unary method.
 * @throws ServiceError of grpc-js as the server sent it (its `code` is a gRPC status), or the signal's reason
 */
export function callUnary<Method extends DescMethod & { readonly methodKind: 'unary' }>(
  client: Client,
  method: Method,
  request: MessageShape<Method['input']>,
  options: CallOptions,
): Promise<MessageShape<Method['output']>> {
  const definition = methodDefinition(method, options.servicePath);
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted === true) {
      reject(options.signal.reason);
      return;
    }
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
    const call = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      metadata,
      { deadline: Date.now() + options.timeoutMs },
      (error, response) => {
        options.signal?.removeEventListener('abort', cancel);
        if (error !== null) reject(options.signal?.aborted === true ? options.signal.reason : error);
        else if (response === undefined) reject(new HoldfastError('BUG', `${definition.path} answered nothing`));
        else resolve(response);
      },
    );
    const cancel = (): void => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
  });
}

/** The messages of a server-streaming call; ends with the stream, throws what the server or the signal says. */
export async function* callServerStream<Method extends DescMethod & { readonly methodKind: 'server_streaming' }>(
  client: Client,
  method: Method,
  request: MessageShape<Method['input']>,
  options: CallOptions,
): AsyncGenerator<MessageShape<Method['output']>, void, undefined> {
  const definition = methodDefinition(method, options.servicePath);
  options.signal?.throwIfAborted();
  const call = client.makeServerStreamRequest(
    definition.path,
    definition.requestSerialize,
    definition.responseDeserialize,
    request,
    new Metadata(),
    { deadline: Date.now() + options.timeoutMs },
  );
  const cancel = (): void => call.cancel();
  options.signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of call) yield message as MessageShape<Method['output']>;
  } finally {
    options.signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}

/** Narrows to an error that came over gRPC, optionally with one of the given statuses. */
export function isServiceError(error: unknown, ...codes: readonly status[]): error is ServiceError {
  return (
    error instanceof Error &&
    'details' in error &&
    'code' in error &&
    typeof error.code === 'number' &&
    (codes.length === 0 || codes.includes(error.code))
  );
}
