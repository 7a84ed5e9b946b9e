// The HTTP(S) side: filter and prioritize for the scheduler, health and readiness for the kubelet, metrics for Prometheus.
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { readManifestFile } from '../../agent/cluster/file-read.ts';
import { describeError, HoldfastError, isErrno } from '../../lib/errors.ts';

export interface HttpTls {
  /** PEM files. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Callers must have a certificate from it; absent: anybody may call. */
  readonly clientCaFile?: string | undefined;
}

export interface ServeHttpOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly tls: HttpTls | undefined;
  readonly handle: (request: http.IncomingMessage, response: http.ServerResponse) => Promise<void>;
  /** Told of certificates that cannot be read again; the former stay in use. */
  readonly onProblem: (problem: string) => void;
  readonly rereadMs?: number;
  /** For tests: times that are shorter. */
  readonly times?: HttpTimes;
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

const REREAD_MS = 10_000;
/** Schedulers keep a few connections; the rest is for probes and scrapes. */
const MAX_CONNECTIONS = 200;
/** One address cannot take the places of the others. */
const MAX_CONNECTIONS_OF_PEER = 100;

export interface HttpTimes {
  /** For a whole request to arrive; an answer may take longer. */
  readonly requestMs: number;
  /** For the head of a request, and before it for the TLS handshake: who connects and says nothing is let go of soon. */
  readonly headMs: number;
  /** Between two requests. A Go client keeps a connection for 90 s: ours must not be the side that ends it. */
  readonly idleMs: number;
  /** Between two looks at who is too slow. */
  readonly checkMs: number;
}

const HTTP_TIMES: HttpTimes = { requestMs: 30_000, headMs: 5000, idleMs: 120_000, checkMs: 1000 };

async function readTls({ certificateFile, keyFile, clientCaFile }: HttpTls): Promise<SecureContextOptions> {
  const [cert, key, ca] = await Promise.all([
    readManifestFile(certificateFile),
    readManifestFile(keyFile),
    clientCaFile === undefined ? undefined : readManifestFile(clientCaFile),
  ]);
  // A file that is just being written: without a certificate every handshake would fail.
  if (cert === '' || key === '' || ca === '') throw new HoldfastError('INVALID_CONFIG', 'one of the files is empty');
  return { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' };
}

/**
 * @throws HoldfastError PRECONDITION when the address is taken, INVALID_CONFIG when the certificates cannot be used
 */
export async function serveHttp(options: ServeHttpOptions): Promise<HttpServer> {
  const { address, tls, handle, onProblem, rereadMs = REREAD_MS, times = HTTP_TIMES } = options;
  const listener: http.RequestListener = (request, response) => void handle(request, response);
  const limits = {
    requestTimeout: times.requestMs,
    headersTimeout: times.headMs,
    keepAliveTimeout: times.idleMs,
    connectionsCheckingInterval: times.checkMs,
  };
  let server: http.Server | https.Server;
  let reread: NodeJS.Timeout | undefined;
  if (tls === undefined) server = http.createServer(limits, listener);
  else {
    let context: SecureContextOptions;
    try {
      context = await readTls(tls);
      const mutual = {
        requestCert: tls.clientCaFile !== undefined,
        rejectUnauthorized: tls.clientCaFile !== undefined,
      };
      server = https.createServer({ ...limits, ...context, ...mutual, handshakeTimeout: times.headMs }, listener);
    } catch (cause) {
      throw new HoldfastError('INVALID_CONFIG', 'the certificates of listen.tls cannot be used', { cause });
    }
    reread = setInterval(() => void renew(server as https.Server, tls, onProblem), rereadMs).unref();
  }
  server.maxConnections = MAX_CONNECTIONS;
  limitPeers(server);
  await listen(server, address);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        clearInterval(reread);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function limitPeers(server: Server): void {
  const connections = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const peer = socket.remoteAddress ?? '';
    const count = (connections.get(peer) ?? 0) + 1;
    connections.set(peer, count);
    socket.once('close', () => {
      const left = (connections.get(peer) ?? 1) - 1;
      if (left === 0) connections.delete(peer);
      else connections.set(peer, left);
    });
    if (count > MAX_CONNECTIONS_OF_PEER) socket.destroy();
  });
}

/** New connections are made with what the files hold now. */
async function renew(server: https.Server, tls: HttpTls, onProblem: (problem: string) => void): Promise<void> {
  try {
    server.setSecureContext(await readTls(tls));
  } catch (error) {
    onProblem(describeError(error));
  }
}

function listen(server: Server, { host, port }: ServeHttpOptions['address']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        isErrno(cause, 'EADDRINUSE')
          ? new HoldfastError('PRECONDITION', `${host}:${port} is taken; set listen.address in the configuration`)
          : new HoldfastError('HOST_FAILURE', `${host}:${port} cannot be served`, { cause }),
      );
    });
    server.listen(port, host, resolve);
  });
}
