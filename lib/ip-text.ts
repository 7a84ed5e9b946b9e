// IP addresses between texts and bytes, read as strictly as all programs agree on.
import ipaddr from 'ipaddr.js';

export interface IpText {
  /** Canonical: dotted decimal, or RFC 5952. */
  readonly text: string;
  /** Four, or sixteen. */
  readonly octets: readonly number[];
}

/** The longest way to write one: IPv6 with a dotted tail (bytes). */
const LONGEST = 45;

/**
 * Octal, hexadecimal and shortened IPv4, zones and IPv4-mapped IPv6 are refused: other programs read them differently.
 * @returns undefined for what is no address
 */
export function readIp(text: string): IpText | undefined {
  if (text.length > LONGEST) return undefined;
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) {
    const parsed = ipaddr.IPv4.parse(text);
    return { text: parsed.toString(), octets: parsed.octets };
  }
  if (!ipaddr.IPv6.isValid(text) || text.includes('%')) return undefined;
  const parsed = ipaddr.IPv6.parse(text);
  return parsed.isIPv4MappedAddress() ? undefined : { text: parsed.toRFC5952String(), octets: parsed.toByteArray() };
}

/** @param octets - four or sixteen, each from 0 to 255 */
export function writeIp(octets: readonly number[]): string {
  const parsed = ipaddr.fromByteArray([...octets]);
  return parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
}
