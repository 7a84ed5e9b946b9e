// The HTTP(S) side: filter and prioritize for the scheduler, health and readiness for the kubelet, metrics for Prometheus.
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server } from 'node:net';
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
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

const REREAD_MS = 10_000;
/** Schedulers keep a few connections; the rest is for probes and scrapes. */
const MAX_CONNECTIONS = 200;
/** For a request to arrive; an answer may take longer. */
const REQUEST_TIMEOUT_MS = 30_000;

async function readTls({ certificateFile, keyFile, clientCaFile }: HttpTls): Promise<SecureContextOptions> {
  const [cert, key, ca] = await Promise.all([
    readManifestFile(certificateFile),
    readManifestFile(keyFile),
    clientCaFile === undefined ? undefined : readManifestFile(clientCaFile),
  ]);
  return { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' };
}

/**
 * @throws HoldfastError PRECONDITION when the address is taken, INVALID_CONFIG when the certificates cannot be used
 */
export async function serveHttp(options: ServeHttpOptions): Promise<HttpServer> {
  const { address, tls, handle, onProblem, rereadMs = REREAD_MS } = options;
  const listener: http.RequestListener = (request, response) => void handle(request, response);
  const limits = { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS };
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
      server = https.createServer({ ...limits, ...context, ...mutual }, listener);
    } catch (cause) {
      throw new HoldfastError('INVALID_CONFIG', 'the certificates of listen.tls cannot be used', { cause });
    }
    reread = setInterval(() => void renew(server as https.Server, tls, onProblem), rereadMs).unref();
  }
  server.maxConnections = MAX_CONNECTIONS;
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
