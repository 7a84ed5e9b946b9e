// CNI's JSON for an answer, in the shape of the version that was asked in. CNI specification 1.1.0, section 5, and the
// specification of 0.4.0, where each address says its version.
import { describeError, HoldfastError } from '../../../lib/errors.ts';
import { cniCodeOf } from './cni-error.ts';
import type { Attached, ResultAddress, ResultInterface } from './request.ts';
import { type CniVersion, isAtLeast } from './versions.ts';

/** Of a message and of its details each: runtimes put them into events and logs. */
const MAX_TEXT = 4096;

function shorten(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}

/** Runtimes end what they tell the kubelet with it, and gRPC loses a message that ends with a space. */
const line = (text: string): string => text.replaceAll('\n', ' ').trim();

/**
 * @param error - anything that was thrown
 * @param code - CNI's, where the command has another one for the error than {@link cniCodeOf}
 */
export function formatError(version: string, error: unknown, code = cniCodeOf(error)): string {
  // The stable code leads the message, as in what the kubelet is told by the shim.
  const known = error instanceof HoldfastError;
  const msg = known ? `holdfast ${error.code}: ${error.message}` : 'holdfast BUG: a mistake in Holdfast; see its log';
  const cause = known ? error.cause : error;
  return JSON.stringify({
    cniVersion: version,
    code,
    msg: shorten(line(msg)),
    ...(cause === undefined ? {} : { details: shorten(line(describeError(cause))) }),
  });
}

function formatInterface({ name, mac, mtu, sandbox }: ResultInterface, version: CniVersion): object {
  return {
    name,
    mac,
    ...(mtu !== undefined && isAtLeast(version, '1.1.0') ? { mtu } : {}),
    ...(sandbox === undefined ? {} : { sandbox }),
  };
}

function formatAddress({ address, gateway }: ResultAddress, version: CniVersion, on: number): object {
  return {
    ...(version === '0.4.0' ? { version: address.includes(':') ? '6' : '4' } : {}),
    address,
    ...(gateway === undefined ? {} : { gateway }),
    ...(on < 0 ? {} : { interface: on }),
  };
}

/** The result of ADD; of an IPAM plugin when there are no interfaces. */
export function formatAttached(version: CniVersion, { interfaces, addresses, routes, dns }: Attached): string {
  const last = interfaces.length - 1;
  return JSON.stringify({
    cniVersion: version,
    ...(last < 0 ? {} : { interfaces: interfaces.map((link) => formatInterface(link, version)) }),
    ips: addresses.map((address) => formatAddress(address, version, last)),
    routes: routes.map(({ dst, gw }) => ({ dst, ...(gw === undefined ? {} : { gw }) })),
    ...(dns === undefined || Object.keys(dns).length === 0 ? {} : { dns }),
  });
}
