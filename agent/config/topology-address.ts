// Where the topology service is served over TCP, and whether it may be. Pure.
import { HoldfastError } from '../../lib/errors.ts';
import type { ListenAddress } from './fields.ts';
import type { AgentConfig } from './schema.ts';

/** Of every interface, and on hosts without IPv6 too; `[::]:9570` serves both protocols where there are both. */
const WITH_CERTIFICATES: ListenAddress = { host: '0.0.0.0', port: 9570 };

/** Addresses that no other host can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(host);
}

/**
 * @returns undefined when it is not served over TCP
 * @throws HoldfastError INVALID_CONFIG for an address that other hosts can reach, without certificates. Files of the
 * configuration are checked one by one, and this can only be seen when all are put together.
 */
export function topologyAddress({ address, tls }: AgentConfig['topologyApi']): ListenAddress | undefined {
  if (address === 'off') return undefined;
  if (tls !== undefined) return address ?? WITH_CERTIFICATES;
  if (address === undefined || isLoopback(address.host)) return address;
  throw new HoldfastError(
    'INVALID_CONFIG',
    `topologyApi.address is ${address.host}, which other hosts can reach, and there are no certificates: set topologyApi.tls, or an address of 127.0.0.1`,
  );
}
