// Clients for unix sockets and TCP; unary and streaming calls of grpc-js as promises: cancelled by an AbortSignal, always
// with a deadline.
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { DescMethod, MessageShape } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError, type status } from '@grpc/grpc-js';
import { HoldfastError } from './errors.ts';
import { LOCAL_CHANNEL_OPTIONS, MAX_MESSAGE_BYTES, methodDefinition } from './grpc.ts';

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

/** PEM. */
export interface ClientTls {
  /** Authorities that the server's certificate must be signed by. */
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** What the server's certificate must be for, when it is not the host of the address. */
  readonly serverName?: string;
}

/** A ping after this long without an answer; whoever was cut off from the server learns of it. */
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

/** Milliseconds between attempts to connect: between the first two, and at most. */
export interface ReconnectPauses {
  readonly firstMs: number;
  readonly mostMs: number;
}

/**
 * A client for `HOST:PORT`; it connects at the first call and again whenever it has to.
 * @param tls - undefined: without TLS, for this host alone
 * @param pauses - undefined: those of gRPC, 1 s and 2 min
 * @throws Error of OpenSSL when the certificates cannot be used
 */
export function connectTcp(address: string, tls: ClientTls | undefined, pauses?: ReconnectPauses): Client {
  const identity = tls === undefined ? undefined : expectedIdentity(address, tls.serverName);
  const verify = identity === undefined ? {} : { checkServerIdentity: identity.check };
  const security =
    tls === undefined ? credentials.createInsecure() : credentials.createSsl(tls.ca, tls.key, tls.cert, verify);
  return new Client(address, security, {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.use_local_subchannel_pool': 1,
    ...(pauses === undefined
      ? {}
      : { 'grpc.initial_reconnect_backoff_ms': pauses.firstMs, 'grpc.max_reconnect_backoff_ms': pauses.mostMs }),
    ...(identity === undefined ? {} : { 'grpc.ssl_target_name_override': identity.sni }),
  });
}

/**
 * Whom the server must prove to be. An address is compared with the addresses in the certificate, and must not be sent as
 * a name (RFC 6066), which grpc-js would do: the name that is sent then says nothing.
 */
function expectedIdentity(address: string, serverName: string | undefined) {
  const host = /^\[(.*)\]:\d+$/.exec(address)?.[1] ?? address.replace(/:\d+$/, '');
  const expected = serverName ?? host;
  return {
    sni: isIP(expected) === 0 ? expected : 'unnamed.invalid',
    check: (_sent: string, certificate: PeerCertificate) => checkServerIdentity(expected, certificate),
  };
}

function metadataOf(options: CallOptions): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
  return metadata;
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
    const call = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      metadataOf(options),
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

/**
 * Opens a stream in both directions for one message, takes the first answer and lets the stream end.
 * @throws as {@link callUnary}; HoldfastError UNAVAILABLE when the stream ends without an answer
 */
export function callStreamOnce<Method extends DescMethod & { readonly methodKind: 'bidi_streaming' }>(
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
    const call = client.makeBidiStreamRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      metadataOf(options),
      { deadline: Date.now() + options.timeoutMs },
    );
    const cancel = (): void => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
    // What comes after the first of these changes nothing: a promise is settled once.
    call.on('data', resolve);
    call.on('error', (error) => reject(options.signal?.aborted === true ? options.signal.reason : error));
    call.on('end', () => reject(new HoldfastError('UNAVAILABLE', `${definition.path} ended without an answer`)));
    call.on('close', () => options.signal?.removeEventListener('abort', cancel));
    call.end(request);
  });
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
