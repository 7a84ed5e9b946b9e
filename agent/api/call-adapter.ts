// Between grpc-js's callbacks and our async handlers: cancellation becomes an AbortSignal, what is thrown a status.
import { create, type DescMethod, type Message } from '@bufbuild/protobuf';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerDuplexStream,
  type ServerWritableStream,
  status,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { methodDefinition } from '../../lib/grpc.ts';
import { toServiceError } from '../../lib/grpc-status.ts';
import type { CallContext } from './handlers.ts';

/** One finished call, for metrics and the log. */
export interface FinishedCall {
  /** `package.Service/Method` */
  readonly method: string;
  readonly code: status;
  readonly seconds: number;
  /** What the handler threw. */
  readonly error?: unknown;
}

export interface AdapterOptions {
  /** Aborted when the server shuts down and calls must end. */
  readonly shutdown: AbortSignal;
  readonly onFinished: (call: FinishedCall) => void;
}

type AnyHandler = (request: unknown, context: CallContext) => unknown;

interface Cancellable {
  getDeadline(): Date | number;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** The signal of one call; `release` must follow the end of the call. */
function signalOf(
  call: Cancellable,
  shutdown: AbortSignal,
): { readonly signal: AbortSignal; readonly release: () => void } {
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort(new HoldfastError('UNAVAILABLE', 'the agent is shutting down; try again'));
  };
  if (shutdown.aborted) stop();
  shutdown.addEventListener('abort', stop, { once: true });
  call.on('cancelled', () => {
    const late = Number(call.getDeadline()) <= Date.now();
    const gaveUp = new DOMException('the caller gave up', 'AbortError');
    controller.abort(late ? new HoldfastError('DEADLINE', "the caller's deadline has passed") : gaveUp);
  });
  return { signal: controller.signal, release: () => shutdown.removeEventListener('abort', stop) };
}

/**
 * Resolves when HTTP/2 has taken the message for its connection: a reader that does not keep up holds the handler up, and
 * one message is all that waits for it. The stream's own buffer would hold sixteen, each older than the last.
 */
function written(
  call: ServerWritableStream<unknown, Message> | ServerDuplexStream<unknown, Message>,
  message: Message,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    // Of a call that has ended the callback is never called.
    const stop = (): void => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    call.write(message, (error: Error | null | undefined) => {
      signal.removeEventListener('abort', stop);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** A request that is no message of its type. grpc-js would answer INTERNAL, as if the mistake were ours. */
class Undecodable {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** @throws HoldfastError INVALID_REQUEST */
function decoded<Request>(request: Request | Undecodable, method: DescMethod): Request {
  if (!(request instanceof Undecodable)) return request;
  const why = describeError(request.error);
  throw new HoldfastError('INVALID_REQUEST', `the request is not a message of type ${method.input.typeName}: ${why}`);
}

async function* decodedAll<Request>(
  requests: AsyncIterable<Request | Undecodable>,
  method: DescMethod,
): AsyncGenerator<Request, void, undefined> {
  for await (const request of requests) yield decoded(request, method);
}

/** The definition of a method whose handler comes from {@link adaptHandler}. */
export function servedMethod(method: DescMethod, servicePath: string) {
  const definition = methodDefinition(method, servicePath);
  return {
    ...definition,
    requestDeserialize: (wire: Buffer): unknown => {
      try {
        return definition.requestDeserialize(wire);
      } catch (error) {
        return new Undecodable(error);
      }
    },
  };
}

/** The grpc-js handler for a method, defined by {@link servedMethod}. Client streaming is not adapted: no service of ours has it. */
export function adaptHandler(method: DescMethod, handler: AnyHandler, options: AdapterOptions): UntypedHandleCall {
  const begin = (call: Cancellable): { readonly signal: AbortSignal; readonly finish: (error?: unknown) => void } => {
    const startedAt = performance.now();
    const { signal, release } = signalOf(call, options.shutdown);
    return {
      signal,
      finish: (error) => {
        release();
        options.onFinished({
          method: `${method.parent.typeName}/${method.name}`,
          code: error === undefined ? status.OK : toServiceError(error).code,
          seconds: (performance.now() - startedAt) / 1000,
          ...(error === undefined ? {} : { error }),
        });
      },
    };
  };

  const unary: handleUnaryCall<unknown, Message> = (call, callback) => {
    const { signal, finish } = begin(call);
    const answer = async (): Promise<void> => {
      try {
        const response = create(
          method.output,
          (await handler(decoded(call.request, method), { signal })) as Record<string, unknown>,
        );
        finish();
        callback(null, response);
      } catch (error) {
        finish(error);
        callback(toServiceError(error));
      }
    };
    void answer();
  };

  const stream = (
    call: ServerWritableStream<unknown, Message> | ServerDuplexStream<unknown, Message>,
    request: unknown,
  ): void => {
    const { signal, finish } = begin(call);
    const answer = async (): Promise<void> => {
      try {
        for await (const item of handler(decoded(request, method), { signal }) as AsyncIterable<
          Record<string, unknown>
        >) {
          signal.throwIfAborted();
          await written(call, create(method.output, item), signal);
        }
        finish();
        call.end();
      } catch (error) {
        finish(error);
        call.emit('error', toServiceError(error));
      }
    };
    void answer();
  };
  const serverStreaming: handleServerStreamingCall<unknown, Message> = (call) => stream(call, call.request);
  const bidiStreaming: handleBidiStreamingCall<unknown, Message> = (call) => {
    // By default the end of what is read would destroy the stream, answers included.
    stream(call, decodedAll(call.iterator({ destroyOnReturn: false }), method));
  };

  switch (method.methodKind) {
    case 'unary':
      return unary as UntypedHandleCall;
    case 'server_streaming':
      return serverStreaming as UntypedHandleCall;
    case 'bidi_streaming':
      return bidiStreaming as UntypedHandleCall;
    case 'client_streaming':
      throw new HoldfastError('BUG', `${method.name}: client streaming is not served`);
  }
}
