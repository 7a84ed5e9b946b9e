// `--endpoint HOST:PORT`: how it is read, and what it means when nothing answers there.
import { HoldfastError } from '../../lib/errors.ts';
import { isServiceError } from '../../lib/grpc-client.ts';
import { fromServiceError } from '../../lib/grpc-status.ts';

const HIGHEST_PORT = 65_535;

/**
 * The host of `HOST:PORT`; an IPv6 address is in brackets.
 * @throws HoldfastError INVALID_REQUEST
 */
export function hostOfEndpoint(endpoint: string): string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(endpoint);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= HIGHEST_PORT) return host;
  throw new HoldfastError(
    'INVALID_REQUEST',
    `--endpoint is "${endpoint}"; it must be HOST:PORT with a port from 1 to ${HIGHEST_PORT}, such as node-1:9570`,
  );
}

const AWAY = /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|Name resolution failed/;

/** What a failed call means to the person at the terminal, who may not be on the agent's host. */
export function endpointError(error: unknown, endpoint: string): unknown {
  if (!isServiceError(error)) return error;
  const translated = fromServiceError(error, `the agent on ${endpoint}`);
  if (translated.code !== 'UNAVAILABLE' || !AWAY.test(error.details)) return translated;
  const remedy = 'is topologyApi set in its configuration, and can this host reach the port?';
  return new HoldfastError('UNAVAILABLE', `the agent does not answer on ${endpoint}: ${remedy}`, { cause: error });
}
