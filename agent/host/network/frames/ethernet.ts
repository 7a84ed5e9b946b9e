// The header of Ethernet frames (IEEE 802.3). Pure.

export const MAC_BYTES = 6;
/** include/uapi/linux/if_ether.h */
export const ETHERTYPE = { ARP: 0x0806, IPV6: 0x86dd } as const;
export const ETHERNET_HEADER_BYTES = 14;
export const BROADCAST_MAC = Buffer.alloc(MAC_BYTES, 0xff);

export interface EthernetFrame {
  readonly destination: Buffer;
  readonly source: Buffer;
  readonly type: number;
  /** Short ones may have padding behind them. */
  readonly payload: Buffer;
}

export function encodeEthernet({ destination, source, type, payload }: EthernetFrame): Buffer {
  const typeBytes = Buffer.alloc(2);
  typeBytes.writeUInt16BE(type);
  return Buffer.concat([destination, source, typeBytes, payload]);
}

/** undefined when there is no whole header. */
export function decodeEthernet(bytes: Buffer): EthernetFrame | undefined {
  if (bytes.length < ETHERNET_HEADER_BYTES) return undefined;
  return {
    destination: bytes.subarray(0, MAC_BYTES),
    source: bytes.subarray(MAC_BYTES, 2 * MAC_BYTES),
    type: bytes.readUInt16BE(2 * MAC_BYTES),
    payload: bytes.subarray(ETHERNET_HEADER_BYTES),
  };
}
