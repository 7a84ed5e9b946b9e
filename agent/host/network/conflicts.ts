// Whether a frame says that another one has an address, or is about to use it. Pure.
import { ARP_REQUEST, type ArpPacket, decodeArp } from './frames/arp.ts';
import { decodeEthernet, ETHERTYPE, type EthernetFrame } from './frames/ethernet.ts';
import { decodeNeighbourMessage } from './frames/neighbour-discovery.ts';

export interface Conflict {
  readonly address: Buffer;
  /** Of the one who spoke. */
  readonly mac: Buffer;
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

/** The address that somebody says is theirs, or that somebody else is probing for (RFC 5227, section 2.1.1). */
function claimedIn({ operation, senderAddress, targetAddress }: ArpPacket): Buffer | undefined {
  if (!isZero(senderAddress)) return senderAddress;
  return operation === ARP_REQUEST ? targetAddress : undefined;
}

function arpConflict(payload: Buffer, ownMac: Buffer): Conflict | undefined {
  const packet = decodeArp(payload);
  const address = packet === undefined ? undefined : claimedIn(packet);
  if (packet === undefined || address === undefined || packet.senderMac.equals(ownMac)) return undefined;
  return { address, mac: packet.senderMac };
}

/** RFC 4862, sections 5.4.3 and 5.4.4. */
function ipv6Conflict({ payload, source }: EthernetFrame): Conflict | undefined {
  const message = decodeNeighbourMessage(payload);
  if (message === undefined) return undefined;
  const isClaim = message.kind === 'advertisement' || message.isDuplicateDetection;
  return isClaim ? { address: message.target, mac: source } : undefined;
}

/**
 * The first of the addresses that the frame tells of; undefined for all other frames, whatever is in them.
 * @param ownMac - that the probes went out with: a bridge may give them back (hairpin mode)
 */
export function conflictIn(frame: Buffer, addresses: readonly Buffer[], ownMac: Buffer): Conflict | undefined {
  const ethernet = decodeEthernet(frame);
  if (ethernet === undefined || ethernet.source.equals(ownMac)) return undefined;
  const { type } = ethernet;
  let conflict: Conflict | undefined;
  if (type === ETHERTYPE.ARP) conflict = arpConflict(ethernet.payload, ownMac);
  else if (type === ETHERTYPE.IPV6) conflict = ipv6Conflict(ethernet);
  return conflict !== undefined && addresses.some((address) => address.equals(conflict.address)) ? conflict : undefined;
}
