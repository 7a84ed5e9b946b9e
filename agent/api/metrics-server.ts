// Metrics over HTTP for Prometheus: /metrics, and nothing else.
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { acceptErrors } from '../../lib/accept-errors.ts';
import { describeError, HoldfastError, isErrno } from '../../lib/errors.ts';

/** The event loop's lag is measured this often, and counts from this value. */
const EVENT_LOOP_PRECISION_MS = 200;

/** The registry that every feature registers its metrics with; with those of the process itself. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({
    register: registry,
    prefix: 'holdfast_',
    // Each look wakes the process up; the library's own 10 ms cost half a percent of a core for nothing.
    eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS,
  });
  return registry;
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** A scrape that takes longer is given up, so that slow readers do not gather. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 50;

/**
 * Serves the registry.
 * @param address - port 0 takes a free one
 * @param onError - a connection could not be accepted; the server goes on. Without it, standard error is told now and then
 * @throws HoldfastError PRECONDITION when the address is taken, HOST_FAILURE when it cannot be used; the agent goes on
 *   without metrics then
 */
export async function serveMetrics(
  registry: Registry,
  address: { readonly host: string; readonly port: number },
  onError: (error: Error) => void = acceptErrors(`metrics on ${address.host}:${address.port}`),
): Promise<MetricsServer> {
  const server = http.createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    void answer(registry, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = REQUEST_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error): void => {
      const where = `${address.host}:${address.port}`;
      reject(
        isErrno(cause, 'EADDRINUSE')
          ? new HoldfastError('PRECONDITION', `metrics: ${where} is taken; set metrics.address in the configuration`)
          : new HoldfastError('HOST_FAILURE', `metrics: ${where} cannot be served`, { cause }),
      );
    };
    server.once('error', refuse);
    server.listen(address.port, address.host, () => {
      server.off('error', refuse);
      // An error that nobody listens for would end the agent.
      server.on('error', onError);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(registry: Registry, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const [path] = (request.url ?? '').split('?');
  if (path !== '/metrics') {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('only /metrics is served\n');
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  try {
    const text = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType }).end(text);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain' }).end(`${describeError(error)}\n`);
  }
}
