// Messages about who has which address on a link. Source: include/uapi/linux/neighbour.h.
import { attribute } from '../../netlink/attributes.ts';
import { NLM_F_CREATE, NLM_F_REPLACE } from '../../netlink/message.ts';
import type { Request } from '../../netlink/socket.ts';
import { FAMILY_NUMBERS, familyOf } from '../ip-bytes.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const NDA = { DST: 1, LLADDR: 2 } as const;
const NUD_PERMANENT = 0x80;

function header(address: Buffer, index: number, state: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(FAMILY_NUMBERS[familyOf(address)], 0);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt16LE(state, 8);
  return bytes;
}

/** The link is never asked for this address. */
export function setPermanentNeighbour(index: number, address: Buffer, mac: Buffer): Request {
  const payload = Buffer.concat([
    header(address, index, NUD_PERMANENT),
    attribute(NDA.DST, address),
    attribute(NDA.LLADDR, mac),
  ]);
  return { type: RTM_NEWNEIGH, flags: NLM_F_CREATE | NLM_F_REPLACE, payload };
}

/** Refused with ENOENT where there is none. */
export function deleteNeighbour(index: number, address: Buffer): Request {
  return {
    type: RTM_DELNEIGH,
    flags: 0,
    payload: Buffer.concat([header(address, index, 0), attribute(NDA.DST, address)]),
  };
}
