// Messages about routes and about the rules that say which table is asked. Source: include/uapi/linux/rtnetlink.h,
// fib_rules.h.
import { Attributes, attribute, u32Attribute } from '../../netlink/attributes.ts';
import { type Message, NLM_F_CREATE, NLM_F_EXCL } from '../../netlink/message.ts';
import type { Request } from '../../netlink/socket.ts';
import { ADDRESS_BITS, FAMILY_NUMBERS, type Family } from '../ip-bytes.ts';
import { headerOf } from './header.ts';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const HEADER_BYTES = 12;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, TABLE: 15 } as const;
const FRA = { PRIORITY: 6, TABLE: 15, PROTOCOL: 21 } as const;
const RTN_UNICAST = 1;
const RTNH_F_ONLINK = 4;
const FR_ACT_TO_TBL = 1;
const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;
const SCOPE_NOWHERE = 255;

export const TABLE_MAIN = 254;
/** What an administrator, and not the kernel or a routing daemon, has put there (RTPROT_STATIC). */
export const PROTOCOL_STATIC = 4;

export interface Route {
  readonly family: Family;
  readonly destination: Buffer;
  readonly prefixLength: number;
  /** The next hop; undefined: the destination is on the link. */
  readonly via: Buffer | undefined;
  /** The next hop is on the link though no address of the interface says so. */
  readonly isOnLink?: boolean;
}

export interface RoutePlace {
  /** The interface's index. */
  readonly index: number;
  readonly table: number;
  readonly protocol: number;
}

function header(family: Family, more: Readonly<Record<number, number>> = {}): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt8(FAMILY_NUMBERS[family], 0);
  for (const [offset, value] of Object.entries(more)) bytes.writeUInt8(value, Number(offset));
  return bytes;
}

/** Refused with EEXIST where the table has a route to that destination already. */
export function addRoute(
  { family, destination, prefixLength, via, isOnLink }: Route,
  { index, table, protocol }: RoutePlace,
): Request {
  const scope = via === undefined ? SCOPE_LINK : SCOPE_UNIVERSE;
  const start = header(family, { 1: prefixLength, 5: protocol, 6: scope, 7: RTN_UNICAST });
  if (isOnLink === true) start.writeUInt32LE(RTNH_F_ONLINK, 8);
  const payload = Buffer.concat([
    start,
    ...(prefixLength === 0 ? [] : [attribute(RTA.DST, destination)]),
    u32Attribute(RTA.OIF, index),
    u32Attribute(RTA.TABLE, table),
    ...(via === undefined ? [] : [attribute(RTA.GATEWAY, via)]),
  ]);
  return { type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_EXCL, payload };
}

/** The route that a packet of this namespace to the address would take now; refused, or with no way out, where there is none. */
export function getRouteTo(family: Family, address: Buffer): Request {
  const payload = Buffer.concat([header(family, { 1: ADDRESS_BITS[family] }), attribute(RTA.DST, address)]);
  return { type: RTM_GETROUTE, flags: 0, payload };
}

/** Refused with ESRCH where the table has no such route. */
export function deleteRoute(
  { family, destination, prefixLength }: Pick<Route, 'family' | 'destination' | 'prefixLength'>,
  { index, table, protocol }: RoutePlace,
): Request {
  const payload = Buffer.concat([
    // 255: whatever the scope (RT_SCOPE_NOWHERE).
    header(family, { 1: prefixLength, 5: protocol, 6: SCOPE_NOWHERE }),
    ...(prefixLength === 0 ? [] : [attribute(RTA.DST, destination)]),
    u32Attribute(RTA.OIF, index),
    u32Attribute(RTA.TABLE, table),
  ]);
  return { type: RTM_DELROUTE, flags: 0, payload };
}

/** All of one table; refused with ENOENT where the table has no route at all. */
export function listTable(family: Family, table: number): Request {
  const payload = Buffer.concat([header(family), u32Attribute(RTA.TABLE, table)]);
  return { type: RTM_GETROUTE, flags: 0, isListing: true, payload };
}

/** Those of one table that leave by one interface; refused with ENOENT where the table has no route at all. */
export function listRoutes(family: Family, table: number, index: number): Request {
  const payload = Buffer.concat([header(family), u32Attribute(RTA.TABLE, table), u32Attribute(RTA.OIF, index)]);
  return { type: RTM_GETROUTE, flags: 0, isListing: true, payload };
}

/** @throws HoldfastError HOST_FAILURE when the message is damaged */
export function decodeRoute(family: Family, { payload }: Message): Route & RoutePlace {
  const bytes = headerOf(payload, HEADER_BYTES);
  const attributes = new Attributes(payload.subarray(HEADER_BYTES));
  return {
    family,
    destination: attributes.bytes(RTA.DST) ?? Buffer.alloc(ADDRESS_BITS[family] / 8),
    prefixLength: bytes.readUInt8(1),
    via: attributes.bytes(RTA.GATEWAY),
    // Routes with several next hops have none here.
    index: attributes.u32(RTA.OIF) ?? 0,
    table: attributes.u32(RTA.TABLE) ?? bytes.readUInt8(4),
    protocol: bytes.readUInt8(5),
  };
}

export interface Rule {
  /** Lower numbers are asked first. */
  readonly priority: number;
  readonly table: number;
  readonly protocol: number;
}

function rulePayload(family: Family, { priority, table, protocol }: Rule): Buffer {
  return Buffer.concat([
    header(family, { 7: FR_ACT_TO_TBL }),
    u32Attribute(FRA.PRIORITY, priority),
    u32Attribute(FRA.TABLE, table),
    attribute(FRA.PROTOCOL, Uint8Array.of(protocol)),
  ]);
}

/** Everything is looked up in the table; refused with EEXIST where the same rule is there. */
export function addRule(family: Family, rule: Rule): Request {
  return { type: RTM_NEWRULE, flags: NLM_F_CREATE | NLM_F_EXCL, payload: rulePayload(family, rule) };
}

/** Refused with ENOENT where there is no such rule. */
export function deleteRule(family: Family, rule: Rule): Request {
  return { type: RTM_DELRULE, flags: 0, payload: rulePayload(family, rule) };
}

export function listRules(family: Family): Request {
  return { type: RTM_GETRULE, flags: 0, isListing: true, payload: header(family) };
}

/** @throws HoldfastError HOST_FAILURE when the message is damaged */
export function decodeRule({ payload }: Message): Rule {
  const bytes = headerOf(payload, HEADER_BYTES);
  const attributes = new Attributes(payload.subarray(HEADER_BYTES));
  return {
    priority: attributes.u32(FRA.PRIORITY) ?? 0,
    table: attributes.u32(FRA.TABLE) ?? bytes.readUInt8(4),
    protocol: attributes.u8(FRA.PROTOCOL) ?? 0,
  };
}
