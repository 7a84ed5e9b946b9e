// grpc-js services and clients from protobuf-es descriptors: one set of generated code for both sides.
import {
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';

/** CRI's own limit, in both directions (bytes). */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/**
 * Channel options for unix sockets on one host: CRI's message limit, quick reconnects, no keepalive pings. The
 * authority is set because Node's and Go's servers refuse a socket path there.
 */
export const LOCAL_CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.default_authority': 'localhost',
  'grpc.use_local_subchannel_pool': 1,
} as const;

/**
 * How requests are read. What a request says beyond its type is skipped: kept, each such field would be an object, and a
 * message full of them takes seconds in which nothing else is done.
 */
const REQUESTS = { readUnknownFields: false } as const;

/** Messages that go out many times, with their bytes once they have gone out. */
const sharedMessages = new WeakMap<Message, { bytes?: Buffer }>();

/**
 * For a message that many callers get: it is encoded when it is first sent, and not again. Nobody may change it later.
 * @returns the message
 */
export function encodeOnce<Shared extends Message>(message: Shared): Shared {
  sharedMessages.set(message, {});
  return message;
}

function encode<Method extends DescMethod>(method: Method, message: MessageShape<Method['output']>): Buffer {
  const shared = sharedMessages.get(message);
  if (shared === undefined) return Buffer.from(toBinary(method.output, message));
  shared.bytes ??= Buffer.from(toBinary(method.output, message));
  return shared.bytes;
}

/**
 * The grpc-js definition of one method.
 * @param servicePath - full service name when it differs from the descriptor's (runtime.v1alpha2)
 */
export function methodDefinition<Method extends DescMethod>(
  method: Method,
  servicePath: string = method.parent.typeName,
): MethodDefinition<MessageShape<Method['input']>, MessageShape<Method['output']>> {
  return {
    path: `/${servicePath}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (wire) => fromBinary(method.input, wire, REQUESTS) as MessageShape<Method['input']>,
    responseSerialize: (message) => encode(method, message),
    responseDeserialize: (wire) => fromBinary(method.output, wire) as MessageShape<Method['output']>,
  };
}

/** The grpc-js definition of a whole service, for `Server.addService`; implementations use the methods' local names. */
export function serviceDefinition(service: DescService): ServiceDefinition<UntypedServiceImplementation> {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodDefinition(method)]));
}
