// Accepts TCP connections, with mutual TLS where there are certificates: no more than a limit, few that are only half
// open, and none that proves nothing about itself. Certificates can be replaced while it listens.
import { constants } from 'node:crypto';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { describeError, HoldfastError, isErrno } from '../../lib/errors.ts';
import type { Certificates } from './certificates.ts';
import type { TcpLimits } from './limits.ts';

/**
 * `limit`: too many at the time; `handshake`: no certificate, a wrong or expired one, or no TLS at all; `accept`: the
 * kernel had no memory or no descriptor for it.
 */
export type RefusalReason = 'limit' | 'handshake' | 'accept';

/** PEM. */
export type ServerCertificates = Pick<Certificates, 'cert' | 'key' | 'ca'>;

export interface TcpListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Without them whoever reaches the address is served. */
  readonly certificates: ServerCertificates | undefined;
  /**
   * Of handshakes that are under way, the oldest ends when there are more than may be: whoever has no certificate cannot
   * take the places of those who have. One address may have its share of the connections where there are certificates;
   * without them all clients have the address of this host.
   */
  readonly limits: Pick<TcpLimits, 'mostConnections' | 'mostPerAddress' | 'mostHalfOpen' | 'handshakeMs'>;
  readonly onConnection: (connection: Duplex) => void;
  /** @param peer - address of the client */
  readonly onRefused: (why: RefusalReason, peer: string, detail: string) => void;
}

export interface TcpListener {
  readonly port: number;
  /** The address that it is bound to. */
  readonly host: string;
  connections(): number;
  /**
   * For connections from now on.
   * @throws HoldfastError PRECONDITION when OpenSSL cannot use them; the former ones stay
   */
  replace(certificates: ServerCertificates): void;
  /** Resolves when the last connection has ended; those that are half open end at once. */
  close(): Promise<void>;
}

function tlsOptions({ cert, key, ca }: ServerCertificates) {
  return {
    cert,
    key,
    ca,
    minVersion: 'TLSv1.2',
    // A resumed session would not be looked at again: a client whose certificate expired meanwhile could go on.
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const;
}

function requireUsable(certificates: ServerCertificates): void {
  try {
    tls.createSecureContext(tlsOptions(certificates));
  } catch (cause) {
    throw new HoldfastError('PRECONDITION', 'the certificates cannot be used for TLS', { cause });
  }
}

/** @throws HoldfastError PRECONDITION when the address cannot be had, or the certificates cannot be used */
export async function listenTcp(options: TcpListenerOptions): Promise<TcpListener> {
  const { certificates, onConnection, onRefused, limits } = options;
  const open = new Set<net.Socket>();
  const halfOpen = new Map<string, net.Socket>();
  const secure = certificates && createTlsServer(options, certificates, (peer) => halfOpen.delete(peer));
  const mostPerAddress = certificates === undefined ? Number.POSITIVE_INFINITY : limits.mostPerAddress;
  const openFrom = (host: string): number => [...open].filter((socket) => hostOf(socket) === host).length;
  const server = net.createServer({ noDelay: true }, (socket) => {
    const peer = peerOf(socket);
    const full = open.size >= limits.mostConnections || openFrom(hostOf(socket)) >= mostPerAddress;
    // A handshake takes milliseconds: the oldest that is not done is the least likely to be a good client's.
    const [oldest] = full || halfOpen.size < limits.mostHalfOpen ? [] : halfOpen.values();
    const refused = full ? socket : oldest;
    if (refused !== undefined) {
      const from = `${openFrom(hostOf(refused))} of them from this address`;
      onRefused('limit', hostOf(refused), `${open.size} connections, ${halfOpen.size} in their handshake, ${from}`);
      refused.destroy();
    }
    if (full) return;
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      halfOpen.delete(peer);
    });
    if (secure === undefined) onConnection(socket);
    else {
      halfOpen.set(peer, socket);
      secure.emit('connection', socket);
    }
  });
  const bound = await listen(server, options);
  // An error that nobody listens for would end the agent.
  server.on('error', (error) => onRefused('accept', 'unknown', describeError(error)));
  return {
    ...bound,
    connections: () => open.size,
    replace: (next) => {
      requireUsable(next);
      secure?.setSecureContext(tlsOptions(next));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of halfOpen.values()) socket.destroy();
      }),
  };
}

const hostOf = (socket: net.Socket): string => socket.remoteAddress ?? 'unknown';
/** What tells one connection from the others; a TLS socket says the same as the one below it. */
const peerOf = (socket: net.Socket): string => `${hostOf(socket)} ${socket.remotePort ?? 0}`;

function createTlsServer(
  { limits, onConnection, onRefused }: TcpListenerOptions,
  certificates: ServerCertificates,
  onHandshakeDone: (peer: string) => void,
): tls.Server {
  const server = tls.createServer({
    ...tlsOptions(certificates),
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: limits.handshakeMs,
    ALPNProtocols: ['h2'],
  });
  server.on('secureConnection', (socket) => {
    onHandshakeDone(peerOf(socket));
    onConnection(socket);
  });
  server.on('tlsClientError', (error, socket) => {
    // Node.js ends a connection without a good certificate with no error of its own.
    const { authorizationError } = socket;
    onRefused('handshake', hostOf(socket), authorizationError ? String(authorizationError) : error.message);
    socket.destroy();
  });
  return server;
}

function listen(
  server: net.Server,
  { host, port }: Pick<TcpListenerOptions, 'host' | 'port'>,
): Promise<{ readonly host: string; readonly port: number }> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error): void => {
      const what = isErrno(cause, 'EADDRINUSE') ? 'is taken' : 'cannot be listened on';
      reject(new HoldfastError('PRECONDITION', `${host} port ${port} ${what}`, { cause }));
    };
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new HoldfastError('BUG', 'no TCP address'));
      else resolve({ host: address.address, port: address.port });
    });
  });
}
