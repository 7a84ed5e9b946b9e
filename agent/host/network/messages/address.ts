// Messages about the addresses of interfaces. Source: include/uapi/linux/if_addr.h.
import { Attributes, attribute, u32Attribute } from '../../netlink/attributes.ts';
import { type Message, NLM_F_CREATE, NLM_F_EXCL } from '../../netlink/message.ts';
import type { Request } from '../../netlink/socket.ts';
import { broadcastOf, FAMILY_NUMBERS, type Family } from '../ip-bytes.ts';
import { headerOf } from './header.ts';

const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const HEADER_BYTES = 8;
const IFA = { ADDRESS: 1, LOCAL: 2, BROADCAST: 4, FLAGS: 8 } as const;
const IFA_F_NODAD = 0x02;
/** Longer IPv4 prefixes have no address to spare (RFC 3021). */
const MAX_BROADCAST_LENGTH = 30;

export interface InterfaceAddress {
  readonly family: Family;
  readonly bytes: Buffer;
  readonly prefixLength: number;
}

function header(family: number, prefixLength: number, index: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt8(family, 0);
  bytes.writeUInt8(prefixLength, 1);
  bytes.writeUInt32LE(index, 4);
  return bytes;
}

/**
 * Refused with EEXIST where the interface has the address already. IPv6 addresses are used at once, without asking the link
 * for duplicates: whose an address is was settled before.
 */
export function addAddress(index: number, { family, bytes, prefixLength }: InterfaceAddress): Request {
  const hasBroadcast = family === 4 && prefixLength <= MAX_BROADCAST_LENGTH;
  const payload = Buffer.concat([
    header(FAMILY_NUMBERS[family], prefixLength, index),
    attribute(IFA.LOCAL, bytes),
    attribute(IFA.ADDRESS, bytes),
    ...(hasBroadcast ? [attribute(IFA.BROADCAST, broadcastOf(bytes, prefixLength))] : []),
    ...(family === 6 ? [u32Attribute(IFA.FLAGS, IFA_F_NODAD)] : []),
  ]);
  return { type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, payload };
}

/** Of one interface, both families. */
export function listAddresses(index: number): Request {
  return { type: RTM_GETADDR, flags: 0, isListing: true, payload: header(0, 0, index) };
}

/** undefined for families other than IPv4 and IPv6. @throws HoldfastError HOST_FAILURE when the message is damaged */
export function decodeAddress({ payload }: Message): (InterfaceAddress & { readonly index: number }) | undefined {
  const bytes = headerOf(payload, HEADER_BYTES);
  const family = ([4, 6] as const).find((one) => FAMILY_NUMBERS[one] === bytes.readUInt8(0));
  const attributes = new Attributes(payload.subarray(HEADER_BYTES));
  // LOCAL is the interface's own where the two differ (a point-to-point link).
  const address = attributes.bytes(IFA.LOCAL) ?? attributes.bytes(IFA.ADDRESS);
  if (family === undefined || address?.length !== (family === 4 ? 4 : 16)) return undefined;
  return { family, bytes: address, prefixLength: bytes.readUInt8(1), index: bytes.readUInt32LE(4) };
}
