// ARP for IPv4 on Ethernet (RFC 826), and what is asked and told about an address before and after it is used (RFC 5227). Pure.
import { BROADCAST_MAC, ETHERTYPE, encodeEthernet, MAC_BYTES } from './ethernet.ts';

const HARDWARE_ETHERNET = 1;
const PROTOCOL_IPV4 = 0x0800;
const IPV4_BYTES = 4;
const ARP_BYTES = 28;

export const ARP_REQUEST = 1;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Buffer;
  readonly senderAddress: Buffer;
  readonly targetMac: Buffer;
  readonly targetAddress: Buffer;
}

export function encodeArp(packet: ArpPacket): Buffer {
  const start = Buffer.alloc(8);
  start.writeUInt16BE(HARDWARE_ETHERNET, 0);
  start.writeUInt16BE(PROTOCOL_IPV4, 2);
  start.writeUInt8(MAC_BYTES, 4);
  start.writeUInt8(IPV4_BYTES, 5);
  start.writeUInt16BE(packet.operation, 6);
  return Buffer.concat([start, packet.senderMac, packet.senderAddress, packet.targetMac, packet.targetAddress]);
}

/** undefined when it is too short, or about other hardware or another protocol. */
export function decodeArp(bytes: Buffer): ArpPacket | undefined {
  if (bytes.length < ARP_BYTES) return undefined;
  const isOurs =
    bytes.readUInt16BE(0) === HARDWARE_ETHERNET &&
    bytes.readUInt16BE(2) === PROTOCOL_IPV4 &&
    bytes.readUInt8(4) === MAC_BYTES &&
    bytes.readUInt8(5) === IPV4_BYTES;
  if (!isOurs) return undefined;
  return {
    operation: bytes.readUInt16BE(6),
    senderMac: bytes.subarray(8, 14),
    senderAddress: bytes.subarray(14, 18),
    targetMac: bytes.subarray(18, 24),
    targetAddress: bytes.subarray(24, 28),
  };
}

function broadcastRequest(mac: Buffer, senderAddress: Buffer, targetAddress: Buffer): Buffer {
  const targetMac = Buffer.alloc(MAC_BYTES);
  const payload = encodeArp({ operation: ARP_REQUEST, senderMac: mac, senderAddress, targetMac, targetAddress });
  return encodeEthernet({ destination: BROADCAST_MAC, source: mac, type: ETHERTYPE.ARP, payload });
}

/** A frame that asks whether anybody has the address, and says nothing about the one who asks (RFC 5227, section 2.1.1). */
export function arpProbe(address: Buffer, mac: Buffer): Buffer {
  return broadcastRequest(mac, Buffer.alloc(IPV4_BYTES), address);
}

/** A frame that tells all neighbours who has the address (RFC 5227, section 2.3). */
export function arpAnnouncement(address: Buffer, mac: Buffer): Buffer {
  return broadcastRequest(mac, address, address);
}
