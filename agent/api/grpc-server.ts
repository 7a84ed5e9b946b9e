// gRPC servers over connections that somebody else accepts, and on unix sockets: mode and group from the first moment,
// bounded messages, an orderly end.
import { setMaxListeners } from 'node:events';
import { chmod, chown } from 'node:fs/promises';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { DescService } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerOptions, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { MAX_MESSAGE_BYTES } from '../../lib/grpc.ts';
import { listenUnix } from '../../lib/unix-socket.ts';
import { adaptHandler, type FinishedCall, servedMethod } from './call-adapter.ts';
import type { Handlers } from './handlers.ts';
import type { UnservedReason } from './refusals.ts';

/** A service with its implementation; made by {@link implement}. */
export interface ImplementedService {
  readonly service: DescService;
  /** Full name when it is served under another one than the descriptor's. */
  readonly typeName: string;
  readonly handlers: Readonly<Record<string, unknown>>;
}

/** @param typeName - full name when it differs from the descriptor's (an older version with the same messages) */
export function implement<Service extends DescService>(
  service: Service,
  handlers: Handlers<Service>,
  typeName: string = service.typeName,
): ImplementedService {
  return { service, typeName, handlers: handlers as Readonly<Record<string, unknown>> };
}

export interface GrpcServerOptions {
  readonly services: readonly ImplementedService[];
  readonly onFinished: (call: FinishedCall) => void;
  /** Over those that suit one host. */
  readonly limits?: ServerOptions;
}

/** A gRPC server without a listener. */
export interface GrpcServer {
  /** Serves on the connection until it ends. */
  accept(connection: Duplex): void;
  /**
   * Ends streams at once; other calls have `graceMs` milliseconds left.
   * @param stopListening - called first; resolves when no more connections come and the last one has ended
   */
  close(graceMs: number, stopListening: () => Promise<void>): Promise<void>;
}

export function createGrpcServer({ services, onFinished, limits }: GrpcServerOptions): GrpcServer {
  const shutdown = new AbortController();
  const streamsEnd = new AbortController();
  // Each call that is under way listens; how many there may be is the connections' business.
  for (const { signal } of [shutdown, streamsEnd]) setMaxListeners(0, signal);
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    // Connections never time out on one host, and channelz would keep track of each for nobody.
    'grpc.enable_channelz': 0,
    ...limits,
  });
  for (const { service, typeName, handlers } of services) {
    const implementation: UntypedServiceImplementation = {};
    for (const method of service.methods) {
      const handler = handlers[method.localName];
      if (typeof handler !== 'function')
        throw new HoldfastError('BUG', `${typeName}/${method.name} is not implemented`);
      implementation[method.localName] = adaptHandler(method, handler as Parameters<typeof adaptHandler>[1], {
        shutdown: method.methodKind === 'unary' ? shutdown.signal : streamsEnd.signal,
        onFinished,
      });
    }
    const definition = service.methods.map((method) => [method.localName, servedMethod(method, typeName)] as const);
    server.addService(Object.fromEntries(definition), implementation);
  }
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    accept: (connection) => injector.injectConnection(connection),
    close: async (graceMs, stopListening) => {
      const stopped = stopListening();
      streamsEnd.abort();
      const drained = new Promise<void>((resolve) => {
        server.tryShutdown(() => resolve());
      });
      const timer = setTimeout(() => {
        shutdown.abort();
        server.forceShutdown();
      }, graceMs);
      await Promise.all([drained, stopped]);
      clearTimeout(timer);
      injector.destroy();
    },
  };
}

export interface ServeOptions extends GrpcServerOptions {
  readonly path: string;
  /** Members of this group may connect too (mode 0660); without it, root alone (0600). */
  readonly groupId?: number;
  /** Connections at a time; those over it are closed at once. Without it, as many as come. */
  readonly mostConnections?: number;
  /** Told of connections that could not be taken. */
  readonly onUnserved?: (why: UnservedReason, detail: string) => void;
}

export interface UnixServer {
  readonly path: string;
  /**
   * Accepts no more connections and ends streams at once; other calls have `graceMs` milliseconds left.
   * The socket file is gone when it resolves.
   */
  close(graceMs: number): Promise<void>;
}

/** @throws HoldfastError PRECONDITION when another process serves on the path */
export async function serveUnix(options: ServeOptions): Promise<UnixServer> {
  const server = createGrpcServer(options);
  const listener = net.createServer((socket) => server.accept(socket));
  const { mostConnections, onUnserved } = options;
  if (mostConnections !== undefined) {
    listener.maxConnections = mostConnections;
    listener.on('drop', () => onUnserved?.('limit', `${mostConnections} connections are open`));
  }
  await listenUnix(
    listener,
    options.path,
    0o600,
    onUnserved && ((error) => onUnserved('accept', describeError(error))),
  );
  try {
    if (options.groupId !== undefined) {
      await chown(options.path, 0, options.groupId);
      await chmod(options.path, 0o660);
    }
  } catch (cause) {
    listener.close();
    throw new HoldfastError('HOST_FAILURE', `${options.path} could not be given to group ${options.groupId}`, {
      cause,
    });
  }
  const stopListening = (): Promise<void> =>
    new Promise((resolve) => {
      listener.close(() => resolve());
    });
  return { path: options.path, close: (graceMs) => server.close(graceMs, stopListening) };
}
