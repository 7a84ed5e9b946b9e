// The shape of a gRPC service's implementation: one async function per method, typed from the descriptor.
import type { DescMessage, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';

export interface CallContext {
  /** Aborted when the caller cancels, disappears or its deadline passes, and when the server shuts down. */
  readonly signal: AbortSignal;
}

type Handler<Method> = Method extends {
  readonly methodKind: 'unary';
  readonly input: infer Input extends DescMessage;
  readonly output: infer Output extends DescMessage;
}
  ? (request: MessageShape<Input>, context: CallContext) => Promise<MessageInitShape<Output>>
  : Method extends {
        readonly methodKind: 'server_streaming';
        readonly input: infer Input extends DescMessage;
        readonly output: infer Output extends DescMessage;
      }
    ? (request: MessageShape<Input>, context: CallContext) => AsyncIterable<MessageInitShape<Output>>
    : Method extends {
          readonly methodKind: 'bidi_streaming';
          readonly input: infer Input extends DescMessage;
          readonly output: infer Output extends DescMessage;
        }
      ? (requests: AsyncIterable<MessageShape<Input>>, context: CallContext) => AsyncIterable<MessageInitShape<Output>>
      : never;

/** An implementation of every method of the service, by its local name. What a handler throws goes out as a status. */
export type Handlers<Service extends DescService> = {
  readonly [Name in keyof Service['method']]: Handler<Service['method'][Name]>;
};
