// The report that tells switches which groups an interface listens to (MLDv2, RFC 3810). Switches that watch for it keep back
// what is sent to other groups, and so would keep back what another one says to those who share the end of an address. Pure.
import { ETHERTYPE, encodeEthernet } from './ethernet.ts';
import { groupMac, icmpv6Checksum, solicitedNodeGroup } from './neighbour-discovery.ts';

const HOP_BY_HOP = 0;
const NEXT_HEADER_ICMPV6 = 58;
/** RFC 3810, section 5: it never leaves the link. */
const HOP_LIMIT = 1;
const REPORT = 143;
/** The interface listens to all sources from now on. */
const CHANGE_TO_EXCLUDE_MODE = 4;
/** Without an address there is none to send it from (RFC 3590, section 4). */
const UNSPECIFIED = Buffer.alloc(16);
const ALL_MLDV2_ROUTERS = Buffer.from('ff020000000000000000000000000016', 'hex');
/** The option router alert (RFC 2711), and two bytes of padding. */
const ROUTER_ALERT = Buffer.from([NEXT_HEADER_ICMPV6, 0, 5, 2, 0, 0, 1, 0]);

/**
 * A frame that joins the solicited-node groups of the addresses, as RFC 4862, section 5.4.2, has it before duplicates are asked
 * for.
 */
export function listenerReport(addresses: readonly Buffer[], mac: Buffer): Buffer {
  const records = addresses.map((address) =>
    Buffer.concat([Buffer.from([CHANGE_TO_EXCLUDE_MODE, 0, 0, 0]), solicitedNodeGroup(address)]),
  );
  const start = Buffer.alloc(8);
  start.writeUInt8(REPORT, 0);
  start.writeUInt16BE(records.length, 6);
  const message = Buffer.concat([start, ...records]);
  message.writeUInt16BE(icmpv6Checksum(UNSPECIFIED, ALL_MLDV2_ROUTERS, message), 2);
  const header = Buffer.alloc(8);
  header.writeUInt8(6 << 4, 0);
  header.writeUInt16BE(ROUTER_ALERT.length + message.length, 4);
  header.writeUInt8(HOP_BY_HOP, 6);
  header.writeUInt8(HOP_LIMIT, 7);
  const payload = Buffer.concat([header, UNSPECIFIED, ALL_MLDV2_ROUTERS, ROUTER_ALERT, message]);
  return encodeEthernet({ destination: groupMac(ALL_MLDV2_ROUTERS), source: mac, type: ETHERTYPE.IPV6, payload });
}
