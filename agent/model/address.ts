// IP addresses and subnets: read strictly, written in one way only, and counted with.
import type { Brand } from '../../lib/brand.ts';
import { HoldfastError } from '../../lib/errors.ts';
import { readIp, writeIp } from '../../lib/ip-text.ts';

export type Family = 4 | 6;

/** In its one canonical form: dotted decimal, or RFC 5952. Two texts are equal exactly when the addresses are. */
export type Address = Brand<string, 'Address'>;

export interface Subnet {
  readonly family: Family;
  /** The lowest address, as a number. */
  readonly base: bigint;
  readonly prefixLength: number;
}

export interface ParsedAddress {
  readonly address: Address;
  readonly family: Family;
  readonly value: bigint;
}

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

function fromBytes(octets: readonly number[]): bigint {
  return octets.reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

/**
 * Reads an address. Octal, hexadecimal and shortened IPv4, zones and IPv4-mapped IPv6 are refused: other programs read
 * them differently.
 * @throws HoldfastError INVALID_REQUEST
 */
export function parseAddress(text: string): ParsedAddress {
  const read = readIp(text);
  if (read === undefined) throw new HoldfastError('INVALID_REQUEST', `"${text.slice(0, 60)}" is not an IP address`);
  return { address: read.text as Address, family: read.octets.length === 4 ? 4 : 6, value: fromBytes(read.octets) };
}

/** The address with this number. @throws HoldfastError BUG when the family has no such number */
export function formatAddress(family: Family, value: bigint): Address {
  if (value < 0n || value >> BigInt(bitsOf(family)) !== 0n) {
    throw new HoldfastError('BUG', `there is no IPv${family} address with the number ${value}`);
  }
  const octets = Array.from({ length: bitsOf(family) / 8 }, (_, index) => {
    const shift = BigInt(bitsOf(family) - 8 * (index + 1));
    return Number((value >> shift) & 0xffn);
  });
  return writeIp(octets) as Address;
}

/** How many addresses there are in it, its first and last included. */
export function sizeOf({ family, prefixLength }: Subnet): bigint {
  return 1n << BigInt(bitsOf(family) - prefixLength);
}

/**
 * Reads `192.0.2.0/24`.
 * @throws HoldfastError INVALID_REQUEST also when bits behind the prefix are set: it is unclear then what was meant
 */
export function parseSubnet(text: string): Subnet {
  const [head = '', length = '', ...more] = text.split('/');
  if (more.length === 0 && /^(?:0|[1-9]\d{0,2})$/.test(length)) {
    const { family, value } = parseAddress(head);
    const prefixLength = Number(length);
    if (prefixLength <= bitsOf(family)) {
      const subnet: Subnet = { family, base: value, prefixLength };
      const rest = value % sizeOf(subnet);
      if (rest === 0n) return subnet;
      const meant = `${formatAddress(family, value - rest)}/${prefixLength}`;
      throw new HoldfastError('INVALID_REQUEST', `"${text}" is an address in a subnet; the subnet is "${meant}"`);
    }
  }
  throw new HoldfastError('INVALID_REQUEST', `"${text.slice(0, 60)}" is not a subnet such as "192.0.2.0/24"`);
}

export function formatSubnet({ family, base, prefixLength }: Subnet): string {
  return `${formatAddress(family, base)}/${prefixLength}`;
}

export function contains(subnet: Subnet, { family, value }: Pick<ParsedAddress, 'family' | 'value'>): boolean {
  return family === subnet.family && value >= subnet.base && value < subnet.base + sizeOf(subnet);
}

/** First and last address of a range, both in it. */
export interface AddressRange {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * Reads `192.0.2.10-192.0.2.20`, or a single address.
 * @throws HoldfastError INVALID_REQUEST
 */
export function parseRange(text: string): AddressRange {
  const [from = '', to = from, ...more] = text.split('-');
  const [first, last] = [parseAddress(from), parseAddress(to)];
  if (more.length > 0 || first.family !== last.family || first.value > last.value) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `"${text.slice(0, 100)}" is not a range such as "192.0.2.10-192.0.2.20"`,
    );
  }
  return { family: first.family, first: first.value, last: last.value };
}

export function formatRange({ family, first, last }: AddressRange): string {
  const from = formatAddress(family, first);
  return first === last ? from : `${from}-${formatAddress(family, last)}`;
}
