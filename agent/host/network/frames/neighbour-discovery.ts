// Neighbour solicitations and advertisements of IPv6 on Ethernet (RFC 4861), and their use before and after an address is
// used: duplicate address detection (RFC 4862, section 5.4) and unsolicited advertisements (RFC 4861, section 7.2.6). Pure.
import { ETHERTYPE, encodeEthernet } from './ethernet.ts';

const IPV6_HEADER_BYTES = 40;
const ADDRESS_BYTES = 16;
const NEXT_HEADER_ICMPV6 = 58;
/** Routers lower it: what has it comes from this link (RFC 4861, section 7.1). */
const HOP_LIMIT = 255;
/** Type, code, checksum, flags and the target. */
const LEAST_ICMPV6_BYTES = 24;
const TYPES = { solicitation: 135, advertisement: 136 } as const;
const FLAG_SOLICITED = 0x40;
const FLAG_OVERRIDE = 0x20;
const OPTION_TARGET_LINK_LAYER_ADDRESS = 2;

const UNSPECIFIED = Buffer.alloc(ADDRESS_BYTES);
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex');
const SOLICITED_NODE_PREFIX = Buffer.from('ff0200000000000000000001ff', 'hex');

export interface NeighbourMessage {
  readonly kind: keyof typeof TYPES;
  readonly source: Buffer;
  readonly destination: Buffer;
  /** The address that it is about. */
  readonly target: Buffer;
  /** A solicitation of one who does not use the target yet, but is about to. */
  readonly isDuplicateDetection: boolean;
}

/** The group that everybody is in who has the address (RFC 4291, section 2.7.1). */
export function solicitedNodeGroup(address: Buffer): Buffer {
  return Buffer.concat([SOLICITED_NODE_PREFIX, address.subarray(13)]);
}

/** RFC 2464, section 7. */
export function groupMac(group: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x33, 0x33]), group.subarray(12)]);
}

/** Of the pseudo-header and the message (RFC 8200, section 8.1); 0 for a message whose own checksum is right. */
export function icmpv6Checksum(source: Buffer, destination: Buffer, message: Buffer): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(message.length, 0);
  tail.writeUInt8(NEXT_HEADER_ICMPV6, 7);
  const bytes = Buffer.concat([source, destination, tail, message, Buffer.alloc(message.length % 2)]);
  let sum = 0;
  for (let offset = 0; offset < bytes.length; offset += 2) sum += bytes.readUInt16BE(offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

interface Outgoing {
  readonly type: number;
  readonly flags: number;
  readonly source: Buffer;
  /** A group. */
  readonly destination: Buffer;
  readonly target: Buffer;
  readonly option?: Buffer;
}

function frameOf(
  { type, flags, source, destination, target, option = Buffer.alloc(0) }: Outgoing,
  mac: Buffer,
): Buffer {
  const start = Buffer.alloc(8);
  start.writeUInt8(type, 0);
  start.writeUInt8(flags, 4);
  const message = Buffer.concat([start, target, option]);
  message.writeUInt16BE(icmpv6Checksum(source, destination, message), 2);
  const header = Buffer.alloc(8);
  header.writeUInt8(6 << 4, 0);
  header.writeUInt16BE(message.length, 4);
  header.writeUInt8(NEXT_HEADER_ICMPV6, 6);
  header.writeUInt8(HOP_LIMIT, 7);
  const payload = Buffer.concat([header, source, destination, message]);
  return encodeEthernet({ destination: groupMac(destination), source: mac, type: ETHERTYPE.IPV6, payload });
}

/** A frame that asks whether anybody has the address (RFC 4862, section 5.4.2). */
export function duplicateSolicitation(address: Buffer, mac: Buffer): Buffer {
  const destination = solicitedNodeGroup(address);
  return frameOf({ type: TYPES.solicitation, flags: 0, source: UNSPECIFIED, destination, target: address }, mac);
}

/** A frame that tells all neighbours who has the address, also those who know it of another (RFC 4861, section 7.2.6). */
export function unsolicitedAdvertisement(address: Buffer, mac: Buffer): Buffer {
  // Its length is counted in eight bytes.
  const option = Buffer.concat([Buffer.from([OPTION_TARGET_LINK_LAYER_ADDRESS, 1]), mac]);
  const flags = FLAG_OVERRIDE;
  return frameOf(
    { type: TYPES.advertisement, flags, source: address, destination: ALL_NODES, target: address, option },
    mac,
  );
}

/** The message behind the IPv6 header; undefined when there is none whose length and checksum are right. */
function icmpv6Of(packet: Buffer): Buffer | undefined {
  if (packet.length < IPV6_HEADER_BYTES + LEAST_ICMPV6_BYTES) return undefined;
  const length = packet.readUInt16BE(4);
  const isWhole = length >= LEAST_ICMPV6_BYTES && IPV6_HEADER_BYTES + length <= packet.length;
  const isIcmpv6 = packet.readUInt8(0) >>> 4 === 6 && packet.readUInt8(6) === NEXT_HEADER_ICMPV6;
  if (!isWhole || !isIcmpv6 || packet.readUInt8(7) !== HOP_LIMIT) return undefined;
  const message = packet.subarray(IPV6_HEADER_BYTES, IPV6_HEADER_BYTES + length);
  return icmpv6Checksum(packet.subarray(8, 24), packet.subarray(24, 40), message) === 0 ? message : undefined;
}

function hasSoundOptions(options: Buffer): boolean {
  let offset = 0;
  while (offset < options.length) {
    const length = offset + 2 > options.length ? 0 : options.readUInt8(offset + 1) * 8;
    if (length === 0) return false;
    offset += length;
  }
  return offset === options.length;
}

/** undefined for anything else, and for what a receiver has to pass over (RFC 4861, sections 7.1.1 and 7.1.2). */
export function decodeNeighbourMessage(packet: Buffer): NeighbourMessage | undefined {
  const message = icmpv6Of(packet);
  if (message === undefined || message.readUInt8(1) !== 0) return undefined;
  const type = message.readUInt8(0);
  const kind = (['solicitation', 'advertisement'] as const).find((one) => TYPES[one] === type);
  const target = message.subarray(8, LEAST_ICMPV6_BYTES);
  if (kind === undefined || target[0] === 0xff || !hasSoundOptions(message.subarray(LEAST_ICMPV6_BYTES))) {
    return undefined;
  }
  const [source, destination] = [packet.subarray(8, 24), packet.subarray(24, 40)];
  const isUnspecified = source.equals(UNSPECIFIED);
  if (kind === 'solicitation' && isUnspecified && !destination.subarray(0, 13).equals(SOLICITED_NODE_PREFIX)) {
    return undefined;
  }
  const isSolicited = (message.readUInt8(4) & FLAG_SOLICITED) !== 0;
  if (kind === 'advertisement' && isSolicited && destination[0] === 0xff) return undefined;
  return { kind, source, destination, target, isDuplicateDetection: kind === 'solicitation' && isUnspecified };
}
