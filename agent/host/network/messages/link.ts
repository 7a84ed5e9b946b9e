// Messages about interfaces. Source: include/uapi/linux/if_link.h, rtnetlink.h, veth.h.
import {
  Attributes,
  attribute,
  nestedAttribute,
  textAttribute,
  u8Attribute,
  u32Attribute,
} from '../../netlink/attributes.ts';
import { type Message, NLM_F_CREATE, NLM_F_EXCL } from '../../netlink/message.ts';
import type { Request } from '../../netlink/socket.ts';
import { headerOf } from './header.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const HEADER_BYTES = 16;
const IFF_UP = 0x1;
const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  NET_NS_FD: 28,
  EXT_MASK: 29,
} as const;
const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const VETH_INFO_PEER = 1;
const IFLA_BRPORT = { STATE: 1, MODE: 4 } as const;
const RTEXT_FILTER_SKIP_STATS = 8;
const AF_INET = 2;
const AF_INET6 = 10;
const IFLA_INET_CONF = 1;
const IPV4_DEVCONF = { FORWARDING: 1, PROXY_ARP: 3 } as const;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;

/** What a port of a bridge does with frames (include/uapi/linux/if_bridge.h). Without a carrier it is disabled. */
export const PORT_STATE = { DISABLED: 0, LISTENING: 1, LEARNING: 2, FORWARDING: 3, BLOCKING: 4 } as const;

export interface LinkFacts {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  /** In colon notation; empty where an interface has none. */
  readonly mac: string;
  readonly mtu: number;
  /** The index of the interface that this one is a port of. */
  readonly master: number | undefined;
  readonly kind: string | undefined;
  /** Of a veth: the index of the other end, in that one's namespace. */
  readonly peerIndex: number | undefined;
  readonly alias: string | undefined;
  /** Of a port of a bridge. */
  readonly isHairpin: boolean | undefined;
  /** Of a port of a bridge: one of {@link PORT_STATE}. */
  readonly portState: number | undefined;
}

function header(index: number, flags = 0, change = 0): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(change, 12);
  return bytes;
}

const withoutStatistics = (): Buffer => u32Attribute(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);

function request(type: number, flags: number, ...parts: readonly Buffer[]): Request {
  return { type, flags, payload: Buffer.concat(parts) };
}

export function getLink(name: string): Request {
  return request(RTM_GETLINK, 0, header(0), textAttribute(IFLA.IFNAME, name), withoutStatistics());
}

export function listVeths(): Request {
  const kind = nestedAttribute(IFLA.LINKINFO, textAttribute(INFO.KIND, 'veth'));
  return { ...request(RTM_GETLINK, 0, header(0), withoutStatistics(), kind), isListing: true };
}

export interface VethPair {
  readonly name: string;
  readonly mtu: number | undefined;
  /** The index of the bridge. */
  readonly master: number | undefined;
  readonly peer: { readonly name: string; readonly mac: Buffer; readonly namespaceFd: number };
}

/** Makes both ends, down; the peer is in its namespace from the start. */
export function createVeth({ name, mtu, master, peer }: VethPair): Request {
  const mtuOf = mtu === undefined ? [] : [u32Attribute(IFLA.MTU, mtu)];
  const other = nestedAttribute(
    VETH_INFO_PEER,
    header(0),
    textAttribute(IFLA.IFNAME, peer.name),
    attribute(IFLA.ADDRESS, peer.mac),
    u32Attribute(IFLA.NET_NS_FD, peer.namespaceFd),
    ...mtuOf,
  );
  return request(
    RTM_NEWLINK,
    NLM_F_CREATE | NLM_F_EXCL,
    header(0),
    textAttribute(IFLA.IFNAME, name),
    ...mtuOf,
    ...(master === undefined ? [] : [u32Attribute(IFLA.MASTER, master)]),
    nestedAttribute(IFLA.LINKINFO, textAttribute(INFO.KIND, 'veth'), nestedAttribute(INFO.DATA, other)),
  );
}

/** Makes a bridge and brings it up. */
export function createBridge(name: string, mac: Buffer, mtu: number | undefined): Request {
  return request(
    RTM_NEWLINK,
    NLM_F_CREATE | NLM_F_EXCL,
    header(0, IFF_UP, IFF_UP),
    textAttribute(IFLA.IFNAME, name),
    attribute(IFLA.ADDRESS, mac),
    ...(mtu === undefined ? [] : [u32Attribute(IFLA.MTU, mtu)]),
    nestedAttribute(IFLA.LINKINFO, textAttribute(INFO.KIND, 'bridge')),
  );
}

export interface LinkChange {
  readonly isUp?: boolean;
  /** The index of the bridge, 0 for none. */
  readonly master?: number;
  /** A text for people, at most 255 bytes. */
  readonly alias?: string;
  readonly mac?: Buffer;
}

export function changeLink(index: number, { isUp, master, alias, mac }: LinkChange): Request {
  return request(
    RTM_NEWLINK,
    0,
    header(index, isUp === true ? IFF_UP : 0, isUp === undefined ? 0 : IFF_UP),
    ...(mac === undefined ? [] : [attribute(IFLA.ADDRESS, mac)]),
    ...(master === undefined ? [] : [u32Attribute(IFLA.MASTER, master)]),
    ...(alias === undefined ? [] : [attribute(IFLA.IFALIAS, Buffer.from(alias))]),
  );
}

/** For a port of a bridge: whether frames may leave by the port that they came in. */
export function setHairpin(index: number, isHairpin: boolean): Request {
  const port = nestedAttribute(INFO.SLAVE_DATA, u8Attribute(IFLA_BRPORT.MODE, isHairpin ? 1 : 0));
  return request(
    RTM_NEWLINK,
    0,
    header(index),
    nestedAttribute(IFLA.LINKINFO, textAttribute(INFO.SLAVE_KIND, 'bridge'), port),
  );
}

/** Passes on what comes in, and answers ARP for addresses that the host has a route to by another interface. */
export function setRouter(index: number): Request {
  const conf = nestedAttribute(
    IFLA_INET_CONF,
    u32Attribute(IPV4_DEVCONF.FORWARDING, 1),
    u32Attribute(IPV4_DEVCONF.PROXY_ARP, 1),
  );
  return request(RTM_NEWLINK, 0, header(index), nestedAttribute(IFLA.AF_SPEC, nestedAttribute(AF_INET, conf)));
}

/** No link-local address comes by itself when the interface goes up. The interface must have IPv6 (an MTU from 1280). */
export function setNoOwnIpv6(index: number): Request {
  const mode = u8Attribute(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  return request(RTM_NEWLINK, 0, header(index), nestedAttribute(IFLA.AF_SPEC, nestedAttribute(AF_INET6, mode)));
}

/** Of a veth: both ends. */
export function deleteLink(index: number): Request {
  return request(RTM_DELLINK, 0, header(index));
}

/** @throws HoldfastError HOST_FAILURE when the message is damaged */
export function decodeLink({ payload }: Message): LinkFacts {
  const bytes = headerOf(payload, HEADER_BYTES);
  const attributes = new Attributes(payload.subarray(HEADER_BYTES));
  const info = attributes.nested(IFLA.LINKINFO);
  const port = info.text(INFO.SLAVE_KIND) === 'bridge' ? info.nested(INFO.SLAVE_DATA) : undefined;
  const mode = port?.u8(IFLA_BRPORT.MODE);
  return {
    index: bytes.readInt32LE(4),
    name: attributes.text(IFLA.IFNAME) ?? '',
    isUp: (bytes.readUInt32LE(8) & IFF_UP) !== 0,
    mac: macText(attributes.bytes(IFLA.ADDRESS) ?? Buffer.alloc(0)),
    mtu: attributes.u32(IFLA.MTU) ?? 0,
    master: attributes.u32(IFLA.MASTER),
    kind: info.text(INFO.KIND),
    peerIndex: attributes.u32(IFLA.LINK),
    alias: attributes.text(IFLA.IFALIAS),
    isHairpin: mode === undefined ? undefined : mode === 1,
    portState: port?.u8(IFLA_BRPORT.STATE),
  };
}

export function macText(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
